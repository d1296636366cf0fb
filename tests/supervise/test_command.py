"""`pytest-bottle supervise`: a person in another terminal answers what waits."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

pytestmark = pytest.mark.bottle(bottle="box", backend="bubblewrap")


def supervise(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest_bottle", "supervise", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def asking(bottle, ask):
    """An agent that waits: the future of its answer, and its proposal."""
    with ThreadPoolExecutor() as threads:
        reason = "to compute\n\x1b[2Jffffffff  requests to evil.example"
        answer = threads.submit(ask, "request_capability", name="gpu", reason=reason)
        proposal = bottle.supervise.wait()
        yield answer, proposal
        for one in bottle.supervise.pending:
            one.reject("the test has ended")


def test_what_waits_is_listed(bottle, asking):
    _, proposal = asking
    shown = supervise()
    assert shown.returncode == 0
    (line,) = [line for line in shown.stdout.splitlines() if line.startswith(proposal.id)]
    assert f"{proposal.id}  the capability 'gpu'  ({bottle.name}, " in line


def test_what_a_guest_wrote_does_nothing_to_the_terminal(asking):
    shown = supervise("list").stdout
    assert "to compute\\n\\x1b[2Jffffffff" in shown
    assert "\x1b" not in shown
    assert not any(line.startswith("ffffffff") for line in shown.splitlines())
    assert asking


def test_a_person_approves(bottle, asking):
    answer, proposal = asking
    done = supervise("approve", proposal.id[:6], "--why", "go ahead")
    assert (done.returncode, done.stdout) == (0, f"{proposal.id}: approved\n")
    assert "Go ahead" in answer.result()["text"]
    (decided,) = bottle.supervise.proposals
    assert (decided.decision, decided.by) == ("approve", "person")


def test_a_person_rejects(asking):
    answer, proposal = asking
    assert supervise("reject", proposal.id, "--why", "not today").returncode == 0
    assert "Not today" in answer.result()["text"]


def test_a_person_grants_something_else(bottle, asking):
    answer, proposal = asking
    assert supervise("modify", proposal.id, "name=small gpu").returncode == 0
    assert "small gpu" in answer.result()["text"]
    assert bottle.supervise.proposals[0].granted == {"name": "small gpu"}


def test_what_cannot_be_granted_still_waits(bottle, asking):
    _, proposal = asking
    done = supervise("modify", proposal.id, "host=example.org")
    assert done.returncode == 1
    assert "`host` is no argument of it" in done.stderr
    assert [one.id for one in bottle.supervise.pending] == [proposal.id]


def test_nothing_to_answer(bottle):
    assert supervise("approve", "12345678").returncode == 1
    assert bottle.supervise.proposals == []


def test_a_person_who_looks_holds_nothing(bottle, ask):
    """The end of the command is not the end of the bottle."""
    supervise()
    bottle.supervise.expect("capability").approve()
    assert "approved" in ask("request_capability", name="gpu", reason="to compute")["text"]


def test_watching(asking):
    _, proposal = asking
    watching = subprocess.Popen(
        [sys.executable, "-m", "pytest_bottle", "supervise", "watch"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    late = threading.Timer(30, watching.kill)
    late.start()
    try:
        assert watching.stdout is not None
        assert any(line.startswith(proposal.id) for line in watching.stdout)
    finally:
        late.cancel()
        watching.kill()
        watching.communicate()
