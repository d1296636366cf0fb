"""What a real CLI tells its model: its prompt, its skills, the task; and nothing of the host's."""

from __future__ import annotations

import pytest

from pytest_bottle import say
from tests.agents.clis import on_claude
from tests.agents.clis import on_every_cli

OFFER = "Write an entry for the list of changes."
BODY = "Never mention file names."


@on_every_cli("reviewer")
def test_its_prompt_is_in_the_system_text(bottle):
    bottle.model.script(say("Fine."))

    run = bottle.run_agent("Review it.").check()

    assert run.text == "Fine."
    assert "You review code for security." in bottle.model.requests[0].system
    assert "Review it." in str(bottle.model.requests[0].messages)


@on_claude("reviewer")
def test_the_low_level_call_has_the_prompt_and_the_model_too(bottle):
    bottle.model.script(say("Fine."))

    result = bottle.exec_claude(["-p", "Review it."]).check()

    assert result.stdout == "Fine.\n"
    assert "You review code for security." in bottle.model.requests[0].system


@on_every_cli()
def test_without_a_prompt_there_is_none(bottle):
    bottle.model.script(say("Fine."))
    bottle.run_agent("Review it.").check()
    assert "You review code" not in bottle.model.requests[0].system


@on_every_cli("scribe")
def test_a_skill_is_offered_and_its_body_is_loaded_on_demand(bottle, cli):
    bottle.model.script(cli.load_skill("changelog"), say("- Faster."))

    run = bottle.run_agent("Write an entry.").check()

    before, after = bottle.model.requests
    assert OFFER in str(before.body)
    assert BODY not in str(before.body)
    assert BODY in str(after.messages)
    assert run.used_skill("changelog")


@on_every_cli("scribe")
def test_a_skill_that_is_not_called_is_offered_only(bottle):
    bottle.model.script(say("No."))

    run = bottle.run_agent("Write an entry.").check()

    (request,) = bottle.model.requests
    assert OFFER in str(request.body)
    assert BODY not in str(request.body)
    assert not run.used_skill("changelog")


@on_every_cli()
def test_a_large_task_arrives_whole(bottle):
    """Larger than one argument of a command may be."""
    task = "".join(f"{number:07} " for number in range(25_600))
    assert len(task) == 200 * 1024
    bottle.model.script(say("Read."))

    bottle.run_agent(task).check()

    assert task.strip() in str(bottle.model.requests[0].messages)


@on_every_cli()
def test_it_is_an_ordinary_user(bottle, cli):
    """Its tools too."""
    if bottle.user == "root":
        pytest.fail("the guest's user is root")
    bottle.model.script(cli.shell("id -u > who"), say("Done."))

    bottle.run_agent("Who are you?").check()

    assert int(bottle.read_file("who")) == bottle.sandbox.guest.uid != 0
