"""Real CLIs ask their supervisor, as their scripted models tell them to."""

from __future__ import annotations

import json

import pytest

from pytest_bottle import say
from pytest_bottle import tool

ASK = tool("mcp__supervise__request_capability", name="gpu", reason="to compute")


def on_both(name: str = "") -> pytest.MarkDecorator:
    """Run a test with Claude Code and with Codex; `name` is what follows theirs."""
    parameters = [
        pytest.param(
            marks=[
                pytest.mark.bottle(agent=agent, backend="bubblewrap"),
                pytest.mark.bottle_requires(kind),
            ],
            id=kind,
        )
        for kind, agent in (
            ("claude", f"claude{name}"),
            ("codex", f"codex{name or '-direct'}"),
        )
    ]
    return pytest.mark.parametrize((), parameters)


@on_both()
def test_an_approval(bottle):
    bottle.supervise.expect("capability", name="gpu").approve()
    bottle.model.script(ASK, say("Done."))

    run = bottle.run_agent("Compute.").check()

    assert "was approved" in run.tool_calls[0].output
    assert "was approved" in str(bottle.model.requests[-1].messages)
    (proposal,) = bottle.supervise.proposals
    assert (proposal.reason, proposal.by) == ("to compute", "expectation")


@on_both()
def test_a_rejection(bottle):
    """Its reason is what the model sees, and no advice to call the tool in another way."""
    bottle.supervise.expect("capability").reject("there is none")
    bottle.model.script(ASK, say("Done."))

    run = bottle.run_agent("Compute.").check()

    (call,) = run.tool_calls
    assert "was rejected: the capability 'gpu'. There is none." in call.output
    assert "schema" not in call.output


@on_both()
def test_less_than_was_asked(bottle):
    bottle.supervise.expect("capability").modify(name="small gpu")
    bottle.model.script(ASK, say("Done."))

    run = bottle.run_agent("Compute.").check()

    assert "Granted: the capability 'small gpu'" in run.tool_calls[0].output


@on_both("-hasty")
def test_nobody_answers(bottle):
    bottle.model.script(ASK, say("Done."))

    run = bottle.run_agent("Compute.").check()

    assert "Nobody answered within 1 s" in run.tool_calls[0].output


@on_both()
def test_asking_twice(bottle):
    """What was rejected once may be approved later; both are in the record."""
    bottle.supervise.expect("capability").reject("not yet")
    bottle.supervise.expect("capability").approve()
    bottle.model.script(ASK, ASK, say("Done."))

    bottle.run_agent("Compute.").check()

    assert [one.decision for one in bottle.supervise.proposals] == ["reject", "approve"]


@on_both()
def test_the_agents_files_hold_no_pass(bottle):
    """It is the bottle's: a branch has another one."""
    bottle.model.script(say("Done."))
    bottle.run_agent("Rest.").check()
    token = bottle.sh('printf %s "$BOTTLE_PASS"').stdout
    assert bottle.sh(f"grep -rl {token} ~/.claude* ~/.codex*").stdout == ""


@on_both()
def test_the_agent_of_a_branch_asks_its_own_supervisor(bottle):
    with bottle.branch() as branch:
        branch.supervise.expect("capability").approve()
        branch.model.script(ASK, say("Done."))

        run = branch.run_agent("Compute.").check()

        assert "was approved" in run.tool_calls[0].output
        assert len(branch.supervise.proposals) == 1
    assert bottle.supervise.proposals == []


@pytest.mark.bottle(agent="codex", backend="bubblewrap")
@pytest.mark.bottle_requires("codex")
def test_codex_asks_in_a_program(bottle):
    """With its newer models it has one tool that runs programs, and they have the others."""
    bottle.supervise.expect("capability", name="gpu").approve()
    arguments = json.dumps({"name": "gpu", "reason": "to compute"})
    call = f"text(await tools.mcp__supervise__request_capability({arguments}))"
    bottle.model.script(tool("exec", call), say("Done."))

    run = bottle.run_agent("Compute.").check()

    assert "was approved" in run.tool_calls[0].output
