"""A bottle's agent asks its supervisor, and its test answers."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_bottle import approve
from pytest_bottle import modify
from pytest_bottle import reject
from pytest_bottle.errors import SuperviseError
from pytest_bottle.errors import UnmetExpectationError

pytestmark = pytest.mark.bottle(bottle="box", backend="bubblewrap")


def test_an_expectation_approves(bottle, ask):
    bottle.supervise.expect("capability", name="gpu").approve()

    answer = ask("request_capability", name="gpu", reason="to compute")

    assert not answer["error"]
    assert "was approved" in answer["text"]
    (proposal,) = bottle.supervise.proposals
    assert (proposal.kind, proposal.reason) == ("capability", "to compute")
    assert (proposal.decision, proposal.by) == ("approve", "expectation")
    assert proposal.granted == proposal.arguments == {"name": "gpu"}


def test_an_expectation_rejects_and_says_why(bottle, ask):
    bottle.supervise.expect("capability").reject("there is only one, and it is taken")

    answer = ask("request_capability", name="gpu", reason="to compute")

    assert not answer["error"]  # Of the tool, which did its work.
    assert "was rejected" in answer["text"]
    assert "only one, and it is taken" in answer["text"]


def test_an_expectation_grants_something_else(bottle, ask):
    bottle.supervise.expect("capability", name="*gpu").modify(name="small gpu")

    answer = ask("request_capability", name="big gpu", reason="to compute")

    assert "approved with changes" in answer["text"]
    assert "small gpu" in answer["text"]
    (proposal,) = bottle.supervise.proposals
    assert (proposal.decision, proposal.granted) == ("modify", {"name": "small gpu"})


def test_each_is_used_once_and_in_order(bottle, ask):
    bottle.supervise.expect("capability", name="g*").reject("not yet")
    bottle.supervise.expect("capability", name="gpu").approve()

    first = ask("request_capability", name="gpu", reason="to compute")
    second = ask("request_capability", name="gpu", reason="to compute")

    assert "rejected" in first["text"]
    assert "approved" in second["text"]


def test_a_policy_decides_what_nobody_expected(bottle, ask):
    bottle.supervise.expect("capability", name="gpu").approve()

    @bottle.supervise.policy
    def decide(proposal):
        if proposal.arguments["name"] == "disk":
            return modify("a small one", name="small disk")
        return reject("no") if "please" not in proposal.reason else approve()

    ask("request_capability", name="gpu", reason="to compute")
    ask("request_capability", name="disk", reason="to store")
    ask("request_capability", name="lamp", reason="to see")
    ask("request_capability", name="lamp", reason="to see, please")

    assert [(one.decision, one.by) for one in bottle.supervise.proposals] == [
        ("approve", "expectation"),
        ("modify", "policy"),
        ("reject", "policy"),
        ("approve", "policy"),
    ]


def test_a_policy_that_fails_rejects_and_the_test_hears_of_it(bottle, ask):
    bottle.supervise.policy(lambda proposal: proposal.arguments["nmae"])

    answer = ask("request_capability", name="gpu", reason="to compute")

    assert "rejected" in answer["text"]
    with pytest.raises(SuperviseError, match="KeyError: 'nmae'"):
        bottle.check_door()
    bottle.check_door()  # It is said once.


def test_the_test_answers_from_another_thread(bottle, ask):
    with ThreadPoolExecutor() as threads:
        asking = threads.submit(ask, "request_capability", name="gpu", reason="to compute")
        proposal = bottle.supervise.wait("capability")
        assert proposal.decision is None
        assert [one.id for one in bottle.supervise.pending] == [proposal.id]
        proposal.approve("have fun")

        assert "Have fun" in asking.result()["text"]

    assert bottle.supervise.pending == []
    (decided,) = bottle.supervise.proposals
    assert decided.by == "test"
    with pytest.raises(SuperviseError, match="decided already: approve, by test"):
        proposal.reject("too late")


def test_an_unmet_expectation_is_said(bottle, ask):
    bottle.supervise.expect("capability", name="gpu").approve()
    bottle.supervise.expect("capability", name="fan").times(2).approve()
    bottle.supervise.expect("capability", name="lamp").always().approve()
    ask("request_capability", name="fan", reason="to cool")

    assert bottle.supervise.unmet == [
        "expect(\"capability\", name='gpu')",
        "expect(\"capability\", name='fan') (1 times more)",
    ]
    with pytest.raises(UnmetExpectationError, match="the capability 'fan' \\(approve\\)"):
        bottle.check_door()


def test_what_is_no_proper_request_is_refused_and_written_down(bottle, ask):
    bottle.supervise.policy(lambda _: approve())

    answer = ask("request_capability", name="../../etc\x1b[2J", reason="to see")

    assert answer["error"]
    assert "`name` must be a short name" in answer["text"]
    (proposal,) = bottle.supervise.proposals
    assert (proposal.decision, proposal.by) == ("reject", "rules")
    assert ask("request_capability", name="gpu")["text"].startswith("This cannot be requested")


def test_the_record_comes_first_and_has_no_pass_in_it(bottle, ask):
    seen = []
    bottle.supervise.expect("capability").approve(
        then=lambda _: seen.extend(bottle.supervise.audit)
    )
    token = bottle.sh('printf %s "$BOTTLE_PASS"').stdout

    ask("request_capability", name="gpu", reason=f"my pass is {token}")

    assert [record["event"] for record in seen] == ["proposal"]
    assert [record["event"] for record in bottle.supervise.audit] == ["proposal", "decision"]
    assert token not in json.dumps(bottle.supervise.audit)


def test_only_what_can_be_granted_is_offered(ask):
    assert ask("request_egress", host="example.org", reason="to read")["error"]
    assert "Nothing has been requested" in ask("list_requests")["text"]


@pytest.mark.bottle(bottle="hasty", backend="bubblewrap")
def test_nobody_answers(bottle, ask):
    answer = ask("request_capability", name="gpu", reason="to compute")

    assert "Nobody answered within 1 s" in answer["text"]
    (proposal,) = bottle.supervise.proposals
    assert (proposal.decision, proposal.by) == ("reject", "timeout")
    assert proposal.decided - proposal.time >= 1


@pytest.mark.bottle(bottle="trusting", backend="bubblewrap")
def test_nobody_answers_where_that_approves(bottle, ask):
    assert "was approved" in ask("request_capability", name="gpu", reason="to compute")["text"]
    assert bottle.supervise.proposals[0].by == "timeout"


def test_a_wrong_pass_is_let_in_nowhere(bottle):
    for header in ("Authorization: Bearer wrong", "X-Nothing: there"):
        said = bottle.sh(
            f"curl -s -o /dev/null -w '%{{http_code}}' -X POST -H '{header}' "
            "-H 'Content-Type: application/json' -d '{}' http://127.0.0.1:4183/mcp"
        )
        assert said.check().stdout == "401"


def test_another_host_is_not_served(bottle):
    """A page in a browser that was led here would send its own."""
    said = bottle.sh(
        "curl -s -o /dev/null -w '%{http_code}' -X POST -H \"Authorization: Bearer $BOTTLE_PASS\" "
        "-H 'Host: evil.example' -H 'Content-Type: application/json' -d '{}' "
        "http://127.0.0.1:4183/mcp"
    )
    assert said.check().stdout == "421"


def test_a_branch_has_a_supervisor_of_its_own(bottle, ask):
    assert "Nothing" in ask("list_requests")["text"]
    with bottle.branch() as branch:
        branch.supervise.expect("capability").approve()
        script = 'python3 agent.py request_capability \'{"name": "gpu", "reason": "r"}\''
        assert "approved" in branch.sh(script).check().stdout
        assert len(branch.supervise.proposals) == 1
    assert bottle.supervise.proposals == []
