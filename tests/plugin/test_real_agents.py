"""Inner runs with the real CLIs: what their failures show, and what their cassettes are good for.

What the CLIs do in a bottle is for `tests/agents`.
"""

from __future__ import annotations

import pytest

from pytest_bottle import say
from pytest_bottle import tool
from tests.plugin.api import KEY
from tests.unit.gateway.scripted_server import scripted_server

CLIS = [
    pytest.param(kind, marks=pytest.mark.bottle_requires("bubblewrap", kind))
    for kind in ("claude", "codex")
]

SHELLS = {"claude": 'tool("Bash", command=', "codex": 'tool("exec_command", cmd='}

FAILING = """
    import pytest
    from pytest_bottle import contains, delay, say, tool

    @pytest.mark.bottle(agent="worker", backend="bubblewrap")
    def test_it(bottle):
        def refuse(request):
            raise ValueError("the marble is not in it")

        bottle.model.script({script})
        {rest}
"""


@pytest.fixture
def fail(pytester, run):
    """Run an inner test of one CLI that fails."""

    def fail(kind, script, rest, *options):
        (pytester.path / "bottle.toml").write_text(f'[agents.worker]\nkind = "{kind}"\n')
        shell = script.replace("SHELL(", SHELLS[kind])
        pytester.makepyfile(FAILING.format(script=shell, rest=rest))
        result = run(*options)
        result.assert_outcomes(failed=1)
        return result

    return fail


@pytest.mark.parametrize("kind", CLIS)
def test_a_timeout_shows_what_was_done_until_then(fail, kind):
    script = 'say("I look.", SHELL("echo so far")), delay(60), say("Done.")'
    result = fail(kind, script, 'bottle.run_agent("Find it.", timeout=4)')
    result.stdout.fnmatch_lines(
        [
            "*ExecTimeoutError: timed out after 4 s*",
            "agent 'worker' ended with killed*",
            "*I look.",
            "*echo so far*",
            "*answered:",
            "*so far",
            "model requests: *",
        ]
    )


@pytest.mark.parametrize("kind", CLIS)
def test_a_turn_that_nobody_expected_is_shown(fail, kind):
    result = fail(kind, 'SHELL("echo a marble")', 'bottle.run_agent("Find it.")')
    result.stdout.fnmatch_lines(
        ["E *UnexpectedRequestError: the agent asked for turn 2*", "E *a marble*"]
    )


@pytest.mark.parametrize("kind", CLIS)
def test_a_callable_that_failed_is_named_with_its_words_and_its_place(fail, kind):
    result = fail(kind, "refuse", 'bottle.run_agent("Find it.")')
    result.stdout.fnmatch_lines(
        ["E *UnexpectedRequestError:*refuse raised ValueError: the marble is not in it*.py:7*"]
    )


@pytest.mark.parametrize("kind", CLIS)
def test_the_report_has_turns_calls_and_requests(fail, kind):
    rest = 'assert bottle.run_agent("Find it.").ran(contains("pytest"))'
    result = fail(kind, 'SHELL("echo a marble; exit 3"), say("It is lost.")', rest)
    result.stdout.fnmatch_lines(
        [
            "E *no shell command*",
            "what the assertion saw:",
            "*echo a marble*",
            "agent 'worker' ended with completed*",
            "*Find it.",
            "*echo a marble; exit 3*",
            "*failed:",
            "*a marble",
            "*It is lost.",
            "model requests: the last 2 of 2",
            "*[[]200] turn 0 of *",
            "*[[]200] turn 1 of *",
            # What the plugin does to learn of all this is not the test's.
            "commands: none of the test's own",
        ]
    )


RECORDING = """
    import pytest

    @pytest.mark.bottle(agent="worker", backend="bubblewrap")
    def test_it(bottle):
        run = bottle.run_agent({task!r}).check()
        assert run.text == "There is a marble in it."
        assert bottle.read_file("box") == "a marble\\n"
        assert run.tools_called == ["Bash", "Read"]
"""


@pytest.mark.bottle_requires("bubblewrap", "claude")
def test_a_conversation_of_claude_is_recorded_and_replayed(pytester, run, monkeypatch):
    """In another bottle, on another day, in another session: none of it is in the cassette."""
    (pytester.path / "bottle.toml").write_text('[agents.worker]\nprompt = "Be brief."\n')
    pytester.makepyfile(RECORDING.format(task="What is in the box?"))
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    script = (
        tool("Bash", command="echo a marble > box"),
        say("Now I look.", tool("Read", file_path="/workspace/box")),
        say("There is a marble in it."),
    )
    with scripted_server(*script) as api:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", api.url)
        run("--bottle-model=record").assert_outcomes(passed=1)
    assert len(api.requests) == 3

    for _ in range(2):
        run("--bottle-model=replay").assert_outcomes(passed=1)

    (cassette,) = (pytester.path / "cassettes").rglob("*.json")
    assert KEY not in cassette.read_text()
    assert "There is a marble in it." in cassette.read_text()
    pytester.makepyfile(RECORDING.format(task="What is in the bag?"))
    result = run("--bottle-model=replay")
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [r"E .*UnexpectedRequestError", r"E +- .*in the box\?", r"E +\+ .*in the bag\?"]
    )


KILLING = """
    import os
    import signal
    import time
    from pathlib import Path

    import pytest
    from pytest_bottle import say

    def doors():
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            line = entry.read_bytes().decode()
            if "pytest_bottle.gateway.main" in line and os.environ["BOTTLE_STATE_DIR"] in line:
                yield int(entry.parent.name)

    def kill_the_door(request):
        for door in doors():
            os.kill(door, signal.SIGKILL)
        return say("Nobody hears this.")

    @pytest.mark.bottle(agent="worker", backend="bubblewrap", timeout=50)
    def test_it(bottle):
        bottle.model.script(kill_the_door)
        begun = time.monotonic()
        try:
            bottle.run_agent("Hello?")
        finally:
            assert time.monotonic() - begun < 10

    @pytest.mark.bottle(agent="worker", backend="bubblewrap")
    def test_next(bottle):
        bottle.model.script(say("Hello."))
        assert bottle.run_agent("Hello?").text == "Hello."
"""


@pytest.mark.parametrize("kind", CLIS)
def test_a_door_that_dies_is_an_infra_error_at_once(pytester, run, kind):
    """The agent is not left to ask again and again."""
    (pytester.path / "bottle.toml").write_text(f'[agents.worker]\nkind = "{kind}"\n')
    pytester.makepyfile(KILLING)
    result = run()
    result.stdout.fnmatch_lines(
        ["*DoorError*", "agent 'worker' ended with killed*", "*1 passed, 1 infra error*"]
    )
