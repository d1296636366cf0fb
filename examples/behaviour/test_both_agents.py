"""The same test on Claude Code and on Codex."""

import pytest

from pytest_bottle import say
from pytest_bottle import tool

COMMAND = "echo done > note.txt"


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(
            tool("Bash", command=COMMAND),
            marks=[
                pytest.mark.bottle(agent="developer"),
                pytest.mark.bottle_requires("claude"),
            ],
            id="claude",
        ),
        pytest.param(
            tool("exec_command", cmd=COMMAND),
            marks=[
                pytest.mark.bottle(agent="codex"),
                pytest.mark.bottle_requires("codex"),
            ],
            id="codex",
        ),
    ],
)
def test_the_agent_writes_a_note(bottle, call):
    bottle.model.script(call, say("Written."))

    run = bottle.run_agent("Write a note.").check()

    assert run.text == "Written."
    assert bottle.read_file("note.txt") == "done\n"
