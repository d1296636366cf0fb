"""A test and its agent's supervisor: what fails it, and what it costs who has none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

MANIFEST = """
[bottles.default]
backend = "bubblewrap"
supervise = { timeout = "30s" }
"""

ASKING = Path(__file__).parent.parent / "supervise" / "asking_agent.py"

CONFTEST = """
    import json
    import pytest

    @pytest.fixture
    def ask(bottle):
        def ask(name):
            bottle.write_file("agent.py", open("asking_agent.py").read())
            arguments = json.dumps({"name": name, "reason": "to compute"})
            return bottle.exec(["python3", "agent.py", "request_capability", arguments])

        return ask
"""


@pytest.fixture(autouse=True)
def _suite(pytester):
    (pytester.path / "bottle.toml").write_text(MANIFEST)
    shutil.copy(ASKING, pytester.path)
    pytester.makeconftest(CONFTEST)


def test_what_was_expected_and_not_asked_fails_the_test(pytester, run):
    pytester.makepyfile(
        """
        def test_it(bottle, ask):
            bottle.supervise.expect("capability", name="gpu").approve()
            bottle.supervise.expect("capability", name="lamp").reject("no")
            ask("lamp")
        """
    )
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "the agent did not ask for what was expected:",
            "*expect(\"capability\", name='gpu')",
            "*It asked for:",
            "*capability: the capability 'lamp' (reject)",
        ]
    )


def test_what_fails_in_the_policy_fails_the_test(pytester, run):
    pytester.makepyfile(
        """
        def test_it(bottle, ask):
            bottle.supervise.policy(lambda proposal: proposal.no_such_thing)
            assert "was rejected" in ask("gpu").stdout
        """
    )
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*SuperviseError: *capability 'gpu'*AttributeError*"])


def test_each_test_has_its_own_expectations(pytester, run):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle(scope="module")
        class TestIt:
            def test_one(self, bottle, ask):
                bottle.supervise.expect("capability").always().approve()
                assert "was approved" in ask("gpu").stdout
                assert len(bottle.supervise.proposals) == 1

            def test_two(self, bottle, ask):
                assert bottle.supervise.proposals == []
                bottle.supervise.policy(lambda proposal: proposal.answer)
                with pytest.raises(Exception, match="no attribute 'answer'"):
                    ask("gpu")
                    bottle.check_door()
                (proposal,) = bottle.supervise.proposals
                assert proposal.by == "policy"
        """
    )
    run().assert_outcomes(passed=2)


def test_a_door_that_dies_is_an_infra_error_and_nobody_waits_for_it(pytester, run):
    pytester.makepyfile(
        """
        import os, signal, time
        from concurrent.futures import ThreadPoolExecutor
        from pytest_bottle.gateway.starting import read_door
        from pytest_bottle.session import SESSION_KEY

        def test_it(bottle, ask, request):
            run = request.config.stash[SESSION_KEY].lifecycle.run
            with ThreadPoolExecutor() as threads:
                asking = threads.submit(ask, "gpu")
                bottle.supervise.wait()
                began = time.monotonic()
                os.kill(read_door(run.directory).pid, signal.SIGKILL)
                assert not asking.result().success
                assert time.monotonic() - began < 20
            print("the agent went on")

        def test_the_next(bottle, ask):
            bottle.supervise.expect("capability").approve()
            assert "was approved" in ask("gpu").stdout
        """
    )
    result = run("-rA")
    result.assert_outcomes(passed=1, failed=0)
    result.stdout.fnmatch_lines(["the model door lost the supervise of*", "the agent went on"])
    result.stdout.fnmatch_lines(["*1 passed, 1 infra error*"])


def test_a_bottle_that_declares_none_has_none(pytester, run):
    (pytester.path / "bottle.toml").write_text('[bottles.default]\nbackend = "bubblewrap"\n')
    pytester.makepyfile("def test_it(bottle): bottle.supervise")
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*supervise: bottle * has none.*bottles.<name>.supervise*"])


@pytest.mark.parametrize("found", [None, "1.28.0"])
def test_a_library_that_is_missing_is_said_before_anything_starts(pytester, run, found):
    pytester.makeconftest(
        f"""
        from importlib import metadata

        FOUND = {found!r}
        real = metadata.version

        def version(name):
            if name != "mcp":
                return real(name)
            if FOUND is None:
                raise metadata.PackageNotFoundError(name)
            return FOUND

        metadata.version = version
        """
    )
    pytester.makepyfile("def test_it(bottle): pass")
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["supervise: *Fix: pip install 'pytest-bottle[[]supervise[]]'"])


def test_the_test_process_loads_no_server(pytester, run):
    pytester.makepyfile(
        """
        import sys

        def test_it(bottle, ask):
            bottle.supervise.expect("capability").approve()
            ask("gpu").check()
            assert not {"mcp", "mcp_types", "starlette", "uvicorn", "aiohttp"} & set(sys.modules)
        """
    )
    run().assert_outcomes(passed=1)
