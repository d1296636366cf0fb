"""Turns of a script meet the turns of a real CLI's conversation."""

from __future__ import annotations

import pytest

from pytest_bottle import UnexpectedRequestError
from pytest_bottle import say
from tests.agents.clis import on_every_cli


@on_every_cli()
def test_a_session_goes_on_where_it_was(bottle, cli):
    bottle.model.script(
        say("I will remember 42."),
        cli.shell("echo 42 > number"),
        say("It was 42."),
    )

    first = bottle.run_agent("Remember 42.").check()
    second = bottle.run_agent("Which number?", resume=first).check()

    assert (first.text, second.text) == ("I will remember 42.", "It was 42.")
    assert bottle.read_file("number") == "42\n"
    assert second.session == first.session
    assert [len(run.requests) for run in (first, second)] == [1, 2]
    said = str(bottle.model.requests[1].messages)
    assert "Remember 42." in said
    assert "I will remember 42." in said


@on_every_cli()
def test_a_second_task_without_a_session_begins_anew(bottle):
    bottle.model.script(say("Hello."))

    first, second = (bottle.run_agent(task).check() for task in ("First task.", "Second task."))

    assert (first.text, second.text) == ("Hello.", "Hello.")
    assert "First task." not in str(bottle.model.requests[1].messages)


@on_every_cli()
def test_a_callable_sees_the_request(bottle, cli):
    seen = []

    def answer(request):
        seen.append(request)
        return say(f"It is {'here' if 'a marble' in str(request.messages) else 'not here'}.")

    bottle.model.script(cli.shell("echo a marble"), answer)

    assert bottle.run_agent("Find it.").check().text == "It is here."
    assert seen == bottle.model.requests[1:]


@on_every_cli()
def test_a_callable_that_fails_fails_the_run_with_its_words(bottle):
    def answer(request):
        assert "nobody said this" in str(request.messages), "the word was not said"

    bottle.model.script(answer)

    with pytest.raises(UnexpectedRequestError, match="the word was not said"):
        bottle.run_agent("Say it.")


@on_every_cli()
def test_a_turn_that_nobody_expected_fails_the_run_and_shows_its_request(bottle, cli):
    bottle.model.script(cli.shell("echo a marble"))

    with pytest.raises(UnexpectedRequestError) as caught:
        bottle.run_agent("Find it.")

    assert "a marble" in str(caught.value)
    assert str(caught.value).count("a marble") == 1, "said once, however often it was asked again"
    assert bottle.runs[0].exit == "api_error"


@on_every_cli()
def test_an_agent_without_a_script_is_told_so(bottle):
    with pytest.raises(UnexpectedRequestError, match=r"bottle\.model\.script"):
        bottle.run_agent("Hello?")


@on_every_cli()
def test_a_session_goes_on_in_a_branch(bottle, cli):
    """Its files are there; what each goes on with is its own."""
    bottle.model.script(say("I will remember 42."), say("Nothing happened here."))
    first = bottle.run_agent("Remember 42.").check()

    branch = bottle.branch()
    branch.model.script(cli.shell("echo 42 > number"), say("It was 42."))
    there = branch.run_agent("Which number?", resume=first).check()
    here = bottle.run_agent("What happened?", resume=first).check()

    assert (there.text, here.text) == ("It was 42.", "Nothing happened here.")
    assert branch.touched("number")
    assert bottle.untouched("number")
    assert "I will remember 42." in str(branch.model.requests[0].messages)
    assert "Which number?" not in str(bottle.model.requests[-1].messages)
