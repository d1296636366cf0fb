"""Trouble on the way: an overloaded model, a task without end, a budget."""

import pytest

from pytest_bottle import BudgetExceededError
from pytest_bottle import error
from pytest_bottle import say
from pytest_bottle import tool

pytestmark = [
    pytest.mark.bottle_requires("claude"),
    pytest.mark.bottle(agent="developer"),
]


@pytest.mark.bottle(env={"CLAUDE_CODE_MAX_RETRIES": "2"})
def test_an_overloaded_model_is_asked_again(bottle):
    bottle.model.script(error(529), say("Here I am."))

    run = bottle.run_agent("Hello?")

    assert run.text == "Here I am."
    assert [exchange.status for exchange in bottle.model.exchanges] == [529, 200]


def test_the_number_of_turns_is_bounded(bottle):
    bottle.model.script(tool("Bash", command="true"), tool("Bash", command="true"), say("Done."))

    run = bottle.run_agent("Go on.", max_turns=1)

    assert run.exit == "max_turns"


@pytest.mark.bottle(budget="10 tokens")
def test_a_budget_stops_the_second_request(bottle):
    bottle.model.script(tool("Bash", command="true"), say("Done."))

    with pytest.raises(BudgetExceededError, match="10 tokens"):
        bottle.run_agent("Spend it all.")
