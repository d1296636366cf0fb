"""A real CLI's tools really run, and what became of each is in the transcript."""

from __future__ import annotations

from pytest_bottle import contains
from pytest_bottle import say
from pytest_bottle import tool
from tests.agents.clis import on_claude
from tests.agents.clis import on_every_cli


@on_every_cli()
def test_what_it_runs_happens_in_the_bottle(bottle, cli):
    bottle.write_file("in.txt", "from the test\n")
    bottle.model.script(cli.shell("tr a-z A-Z < in.txt | tee out.txt"), say("Done."))

    run = bottle.run_agent("Shout.").check()

    assert bottle.read_file("out.txt") == "FROM THE TEST\n"
    (call,) = run.tool_calls
    assert (call.name, call.error, call.denied) == (cli.shell_tool, False, False)
    assert "FROM THE TEST" in call.output
    assert run.ran(contains("tr a-z A-Z"))
    assert "FROM THE TEST" in str(bottle.model.requests[1].messages)
    assert bottle.touched("out.txt")


@on_every_cli()
def test_a_tool_that_fails_is_an_error(bottle, cli):
    """The run completes all the same: what comes of it is for the agent to decide."""
    bottle.model.script(cli.shell("echo oops >&2; exit 3"), say("It failed."))

    run = bottle.run_agent("Try.").check()

    (call,) = run.tool_calls
    assert call.error
    assert not call.denied
    assert "oops" in call.output


@on_every_cli()
def test_tools_are_called_together(bottle, cli):
    """Several calls in one answer: all are done, and the model hears of all of them at once."""
    bottle.model.script(
        [cli.shell("echo one > 1.txt"), cli.shell("echo two > 2.txt"), cli.shell("cat nothing")],
        say("Done."),
    )

    run = bottle.run_agent("Both.").check()

    assert (bottle.read_file("1.txt"), bottle.read_file("2.txt")) == ("one\n", "two\n")
    assert len(bottle.model.requests) == 2
    assert run.tools_called == [cli.shell_tool] * 3
    assert [call.error for call in run.tool_calls] == [False, False, True]
    (turn,) = [turn for turn in run.transcript if turn.tool_calls]
    assert len(turn.tool_calls) == 3


@on_claude()
def test_an_edit_is_made(bottle):
    bottle.write_file("app.py", "limit = 1\n")
    path = f"{bottle.workdir}/app.py"
    bottle.model.script(
        tool("Read", file_path=path),
        tool("Edit", file_path=path, old_string="limit = 1", new_string="limit = 2"),
        say("Done."),
    )

    run = bottle.run_agent("Raise it.").check()

    assert bottle.read_file("app.py") == "limit = 2\n"
    assert run.tools_called == ["Read", "Edit"]


@on_every_cli("guarded")
def test_a_tool_that_is_denied_does_not_run(bottle, cli):
    bottle.write_file("precious", "")
    bottle.model.script(cli.shell("rm precious"), say("I was not allowed to."))

    run = bottle.run_agent("Delete it.")

    assert run.exit == "completed"
    assert bottle.exists("precious")
    (call,) = run.tool_calls
    assert call.denied
    (denial,) = run.permission_denials
    assert denial.tool == cli.shell_tool
    assert "rm precious" in str(denial.input)


@on_every_cli("guarded")
def test_what_is_not_denied_runs(bottle, cli):
    bottle.model.script(cli.shell("touch made"), say("Done."))

    run = bottle.run_agent("Make it.").check()

    assert bottle.exists("made")
    assert run.permission_denials == ()


@on_claude()
def test_a_subagent_has_a_script_of_its_own(bottle):
    bottle.model.script(
        tool(
            "Agent",
            description="count",
            prompt="COUNT the files.",
            subagent_type="Explore",
            run_in_background=False,
        ),
        say("There are three."),
    )
    bottle.model.script(tool("Bash", command="touch counted"), say("Three."), match="COUNT the")

    run = bottle.run_agent("How many files are there?").check()

    assert run.text == "There are three."
    assert bottle.exists("counted")
    outer, inner = run.tool_calls
    assert (outer.parent, inner.parent) == (None, outer.id)
    assert "Three." in outer.output
