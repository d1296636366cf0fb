"""Claude Code in a microVM: its model is beyond the door, and its work stays in the machine."""

from __future__ import annotations

import os

import pytest

from pytest_bottle import say
from pytest_bottle import tool
from tests.smolvm.conftest import EMULATED

IMAGE = os.environ.get("BOTTLE_SMOLVM_CLAUDE_IMAGE", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not IMAGE, reason="BOTTLE_SMOLVM_CLAUDE_IMAGE names no such image"),
]


def test_it_is_told_works_and_answers(bottle_factory):
    bottle = bottle_factory(agent="reviewer", image=IMAGE, memory="1536M", golden=False)
    bottle.model.script(tool("Bash", command="id -un >who; echo 42 >answer"), say("It is 42."))

    run = bottle.run_agent("Find the answer.", timeout=1200 if EMULATED else 60).check()

    assert run.text == "It is 42."
    assert run.tools_called == ["Bash"]
    assert bottle.read_file("answer") == "42\n"
    assert bottle.read_file("who") == "root\n"
    first, second = bottle.model.requests
    assert "You review code for security." in first.system
    assert "sql-audit" in str(first.body)
    assert "Find the answer." in str(first.messages)
    assert "tool_result" in str(second.messages)
