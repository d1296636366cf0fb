"""How a run of a real CLI ended is told apart: its return code alone does not tell."""

from __future__ import annotations

import time

import pytest

from pytest_bottle import ExecTimeoutError
from pytest_bottle import delay
from pytest_bottle import error
from pytest_bottle import say
from tests.agents.clis import on_claude
from tests.agents.clis import on_every_cli

COUNT = "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -cx -e 1234[5] -e 2345[6]"
"""Counts the sleepers, and not itself."""

OUTLIVING = (
    "nohup setsid sleep 12345 > /dev/null 2>&1 & "
    f"sleep 1; (sleep 23456 & sleep 0.2; {COUNT} > sleepers; wait)"
)
"""A child that does all it can to stay, and one that the tool waits for."""


@on_every_cli()
def test_an_overloaded_model_is_asked_again(bottle):
    bottle.model.script(error(529), say("Here I am."))

    run = bottle.run_agent("Hello?").check()

    assert run.text == "Here I am."
    assert [exchange.status for exchange in bottle.model.exchanges] == [529, 200]


@on_every_cli("hasty")
def test_a_model_that_cannot_be_asked_is_an_api_error(bottle):
    bottle.model.script(error(529, "overloaded, come back later"), say("Too late."))

    run = bottle.run_agent("Hello?")

    assert run.exit == "api_error"
    assert not run.success
    status, message = run.api_error
    assert status == 529
    assert "529" in message
    assert [exchange.status for exchange in bottle.model.exchanges] == [529]


@on_claude()
def test_the_bound_of_turns_is_an_end_of_its_own(bottle, cli):
    bottle.model.script(cli.shell("touch one"), cli.shell("touch two"), say("Done."))

    run = bottle.run_agent("Go on.", max_turns=1)

    assert run.exit == "max_turns"
    assert bottle.exists("one")
    assert not bottle.exists("two")


@on_every_cli("broken")
def test_a_cli_that_does_not_start_has_crashed(bottle):
    run = bottle.run_agent("Hello?")

    assert run.exit == "crashed"
    assert "--no-such-option" in run.stderr
    assert run.returncode not in {0, 127}
    assert bottle.model.requests == []


@on_every_cli("lost")
def test_a_cli_that_is_not_there_has_crashed(bottle):
    run = bottle.run_agent("Hello?")

    assert run.exit == "crashed"
    assert run.returncode == 127


@on_every_cli()
def test_a_cli_that_is_killed_from_within_has_crashed(bottle, cli):
    """Half of a transcript is not an answer."""
    bottle.model.script(cli.shell(f"kill -9 $(pidof {cli.kind})"), say("I live."))

    run = bottle.run_agent("Kill yourself.")

    assert run.exit == "crashed"
    assert run.text != "I live."


@on_every_cli()
def test_a_timeout_leaves_no_process_of_it(bottle, cli):
    """Nor of its tools, be they in the background, in a session of their own, deaf to hang-ups."""
    bottle.model.script(cli.shell(OUTLIVING), say("Done."))

    with pytest.raises(ExecTimeoutError):
        bottle.run_agent("Wait.", timeout=5)

    assert bottle.read_file("sleepers") == "2\n"
    assert bottle.sh(COUNT).stdout == "0\n"
    (run,) = bottle.runs
    assert run.exit == "killed"
    assert run.prompt == "Wait."
    assert run.ran(OUTLIVING)


@on_every_cli()
def test_what_it_is_told_until_then_is_there_too(bottle, cli):
    """The model is slow: its answer never came, and the turn before it is in the transcript."""
    bottle.model.script(cli.shell("echo so far"), delay(60), say("Done."))

    begun = time.monotonic()
    with pytest.raises(ExecTimeoutError):
        bottle.run_agent("Wait.", timeout=4)

    assert time.monotonic() - begun < 10
    (run,) = bottle.runs
    assert [call.output.strip() for call in run.tool_calls] == ["so far"]
