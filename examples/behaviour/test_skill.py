"""A skill: its description is on offer, its body is loaded only when the agent calls for it."""

import pytest

from pytest_bottle import say
from pytest_bottle import tool

BODY = "Never mention file names."


@pytest.mark.bottle_requires("claude")
@pytest.mark.bottle(agent="scribe")
def test_the_skill_is_loaded_when_it_is_called(bottle):
    bottle.model.script(
        tool("Skill", skill="changelog"),
        say("- The mean is right again."),
    )

    run = bottle.run_agent("Write a changelog entry for the fix of mean().")

    assert run.used_skill("changelog")
    before, after = bottle.model.requests
    assert "Write an entry for CHANGELOG.md." in str(before.messages)
    assert BODY not in str(before.messages)
    assert BODY in str(after.messages)
