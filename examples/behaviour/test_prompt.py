"""What the agent is told: its prompt from the manifest, and a `CLAUDE.md` in its workspace.

The model is scripted, so these tests need no key and no network, and come out the same every time.
They show what the real Claude Code would have sent to a real model.
"""

import pytest

from pytest_bottle import say

pytestmark = [
    pytest.mark.bottle_requires("claude"),
    pytest.mark.bottle(agent="reviewer"),
]


def test_the_prompt_of_the_manifest_reaches_the_model(bottle):
    bottle.model.script(say("calc.py:2"))

    run = bottle.run_agent("Review calc.py")

    assert run.text == "calc.py:2"
    assert "You review code for security." in bottle.model.requests[0].system


def test_claude_md_is_read(bottle):
    bottle.write_file("CLAUDE.md", "Money is counted in cents.\n")
    bottle.model.script(say("Understood."))

    bottle.run_agent("What is money counted in?").check()

    assert "Money is counted in cents." in str(bottle.model.requests[0].messages)
