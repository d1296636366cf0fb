"""A permission policy: what the agent may not do is denied, and the return code hides it."""

import pytest

from pytest_bottle import contains
from pytest_bottle import say
from pytest_bottle import tool

pytestmark = [
    pytest.mark.bottle_requires("claude"),
    pytest.mark.bottle(agent="guarded"),
]


def test_what_is_not_allowed_is_denied(bottle):
    bottle.model.script(
        tool("Bash", command="rm calc.py"),
        say("I was not allowed to delete it."),
    )

    run = bottle.run_agent("Delete calc.py")

    assert run.success  # As Claude Code sees it.
    assert [denial.tool for denial in run.permission_denials] == ["Bash"]
    assert bottle.untouched("calc.py")


def test_what_is_allowed_is_done(bottle):
    bottle.model.script(
        tool("Read", file_path="/workspace/calc.py"),
        say("It returns the mean."),
    )

    run = bottle.run_agent("What does calc.py do?")

    assert run.called("Read", file_path=contains("calc.py"))
    assert not run.permission_denials
    assert "len(numbers) + 1" in run.tool_calls[0].output
