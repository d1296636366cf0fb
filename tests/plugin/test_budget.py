"""What models take: counted to the token, shown where people and machines look, and bounded."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

pytestmark = [
    pytest.mark.bottle_requires("bubblewrap"),
    pytest.mark.usefixtures("calling_agent"),
]

SPENDING = """
    import pytest
    from pytest_bottle import Usage
    from pytest_bottle import say

    @pytest.mark.bottle(agent="caller")
    def test_one(bottle):
        bottle.model.script(say("Hello.", usage=Usage(input_tokens=1000, output_tokens=20)))
        bottle.run_agent("One?\\nTwo?").check()

    @pytest.mark.bottle(agent="caller")
    def test_other(bottle):
        bottle.model.script(say("Hello.", usage=Usage(input_tokens=500, cache_read_tokens=9)))
        bottle.run_agent("Three?").check()

    def test_without_an_agent(bottle):
        pass
"""

PRICES = """
date = "2026-01-02"

[models.claude-sonnet-4-5]
input = 10.0
output = 100.0
cache_read = 0.0
"""


def properties(pytester: pytest.Pytester, test: str) -> dict[str, str]:
    """Return what JUnit's report has for a test."""
    (case,) = ET.parse(pytester.path / "junit.xml").findall(f".//testcase[@name='{test}']")
    found = case.iterfind(".//property")
    return {each.attrib["name"]: each.attrib["value"] for each in found}


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "workers"])
def test_tokens_and_dollars_are_in_the_summary_and_in_junits_report(pytester, run, workers):
    pytester.makepyfile(SPENDING)
    (pytester.path / "prices.toml").write_text(PRICES)

    result = run("--junitxml=junit.xml", "--bottle-prices=prices.toml", *workers)

    result.assert_outcomes(passed=3)
    one = properties(pytester, "test_one")
    assert one["bottle.model_requests"] == "2"
    assert one["bottle.input_tokens"] == "2000"
    assert one["bottle.output_tokens"] == "40"
    assert float(one["bottle.cost_usd"]) == 2 * (1000 * 10 + 20 * 100) / 1_000_000
    other = properties(pytester, "test_other")
    assert other["bottle.input_tokens"] == "500"
    assert not [name for name in properties(pytester, "test_without_an_agent") if "tokens" in name]
    result.stdout.fnmatch_lines(
        ["bottle: models: 3 requests, 2500 tokens in, 40 out, 9 in caches; $0.0290*"]
    )


def test_a_run_without_models_says_nothing_of_them(pytester, run):
    pytester.makepyfile("def test_it(bottle): pass")
    result = run()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("bottle: models:*")


SPENDTHRIFT = """
    import time
    import pytest
    from pytest_bottle import Usage
    from pytest_bottle import say

    HELLO = say("Hello.", usage=Usage(input_tokens=90, output_tokens=10))

    {mark}
    @pytest.mark.bottle(agent="caller", budget={budget!r})
    def test_it(bottle):
        bottle.model.script(HELLO)
        bottle.run_agent("One?\\nTwo?\\nThree?")
"""


@pytest.mark.parametrize("mark", ["", "@pytest.mark.xfail"], ids=["plain", "expected"])
def test_over_budget_is_an_outcome_of_its_own(pytester, run, mark):
    """Also where the test was expected to fail: nobody expects that."""
    pytester.makepyfile(SPENDTHRIFT.format(mark=mark, budget="200 tokens"))

    result = run("--junitxml=junit.xml", "-rA")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"over budget": 1} or "over" in result.stdout.str()
    result.stdout.fnmatch_lines(
        [
            "test_*.py B *",
            "*= OVER BUDGET =*",
            "*BudgetExceededError: the budget of the bottle * 200 tokens spent of 200 tokens.*",
            "*[[]200] turn 0 of *",
            "*[[]200] turn 0 of *",
            "*[[]400] turn 0 of *",
            "These agents were stopped: they had spent their budget.",
            "*1 over budget*",
        ]
    )
    found = properties(pytester, "test_it")
    assert found["bottle.outcome"] == "over budget"
    assert (found["bottle.input_tokens"], found["bottle.output_tokens"]) == ("180", "20")


def test_the_run_may_have_a_budget_for_all_its_tests(pytester, run):
    """The first test spends it, the second is stopped at its first request."""
    pytester.makepyfile(SPENDING)
    result = run("--bottle-budget=1k tokens")
    result.stdout.fnmatch_lines(
        ["test_*.py BB.*", "*the budget of the run is used up: 1,020 tokens spent of 1,000 tokens*"]
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_within_the_budget_nothing_is_said(pytester, run):
    pytester.makepyfile(SPENDTHRIFT.format(mark="", budget="301 tokens"))
    run().assert_outcomes(passed=1)


def test_a_test_may_expect_to_be_stopped(pytester, run):
    """Whoever catches it has seen to it."""
    caught = "with pytest.raises(pytest_bottle.BudgetExceededError): bottle.run_agent"
    text = SPENDTHRIFT.format(mark="", budget="100 tokens").replace("bottle.run_agent", caught)
    pytester.makepyfile(text.replace("import time", "import pytest_bottle"))
    run().assert_outcomes(passed=1)


def test_a_file_without_prices_is_refused_before_anything_runs(pytester, run):
    pytester.makepyfile(SPENDING)
    (pytester.path / "prices.toml").write_text("[models.claude-sonnet-4-5]\n")

    result = run("--bottle-prices=prices.toml")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*ERROR: prices (from *prices.toml): these are no prices: *"])
