"""The gates of a bottle: opened, asked, read and closed through a real door."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_bottle.door_plan import DoorPlan
from pytest_bottle.door_plan import EgressPlan
from pytest_bottle.door_plan import GitGatePlan
from pytest_bottle.door_plan import RemotePlan
from pytest_bottle.door_plan import SupervisePlan
from pytest_bottle.errors import CapabilityError
from pytest_bottle.errors import DoorError
from pytest_bottle.errors import LaunchError
from pytest_bottle.errors import RecordsWarning
from pytest_bottle.gateway import gates
from pytest_bottle.gateway.client import Connection
from pytest_bottle.gateway.gate_opening import GateOpening
from pytest_bottle.gateway.open_gates import OpenGates
from pytest_bottle.gateway.records import PAGE
from tests.unit.gateway.doors import OneSource
from tests.unit.gateway.doors import eventually
from tests.unit.gateway.doors import hello
from tests.unit.gateway.noting_gate import NotingGate

if TYPE_CHECKING:
    from pytest_bottle.gateway.gate_client import GateClient

NOTING = "tests.unit.gateway.noting_gate:NotingGate"
FAILING = "tests.unit.gateway.noting_gate:FailingGate"
SECRET = "opensesame-4711"

TWO = DoorPlan(egress=EgressPlan(), git=GitGatePlan(remotes=(RemotePlan(name="origin"),)))


@pytest.fixture
def kinds(monkeypatch) -> dict[str, str]:
    """Which gate class is whose; all of them note."""
    NotingGate.made = []
    found = dict.fromkeys(("egress", "git", "supervise"), NOTING)
    monkeypatch.setattr(gates, "_GATES", found)
    return found


@pytest.fixture
def connection(local_door, kinds):  # noqa: ARG001 - before the door opens any
    return local_door(OneSource(hello))


@pytest.fixture
def opening(tmp_path):
    """What a process tells of a bottle: `opening("bottle-1", plan=...)`."""

    def opening(bottle="bottle-1", **changes):
        given = {
            "token": "pass-of-this-bottle",
            "plan": TWO,
            "evidence": tmp_path / "evidence",
            "state": tmp_path,
            "secrets": {"API_KEY": SECRET},
            "credentials": {"TOKEN": "token-of-the-host"},
        }
        return GateOpening(bottle=bottle, **{**given, **changes})

    return opening


@pytest.fixture
def bottle(connection, opening):
    """The gates of a bottle that has two."""
    found = OpenGates(connection, opening())
    yield found
    found.close()


@pytest.fixture
def egress(bottle):
    return bottle.clients["egress"]


def texts(client: GateClient) -> list[str]:
    return [record["text"] for record in client.records()]


class TestOpening:
    def test_a_bottle_has_the_gates_that_it_declares(self, bottle):
        assert list(bottle.clients) == ["egress", "git"]
        assert [gate.context.opening.bottle for gate in NotingGate.made] == ["bottle-1"] * 2

    def test_gates_of_a_bottle_know_each_other(self, egress):
        assert egress.call("sibling", kind="git") == {"found": True}
        assert egress.call("sibling", kind="supervise") == {"found": False}

    def test_each_serves_the_socket_of_its_port(self, bottle):
        ports = []

        def listen(port):
            ports.append(port)
            return socket.create_server(("127.0.0.1", 0))

        bottle.listen(listen)
        assert ports == [4181, 4182]
        assert all(gate.listener is not None for gate in NotingGate.made)

    def test_they_are_opened_once(self, connection, opening, bottle):  # noqa: ARG002
        with pytest.raises(DoorError, match="has its gates open for bottle-1 already"):
            OpenGates(connection, opening())

    def test_a_missing_library_is_named_with_what_to_do(self, connection, kinds, opening):
        kinds["git"] = "a_library_that_nobody_has.gate:Gate"
        with pytest.raises(CapabilityError) as caught:
            OpenGates(connection, opening())
        assert str(caught.value) == (
            "git: a bottle declares it, and a_library_that_nobody_has is not installed where the "
            "tests run. Fix: pip install 'pytest-bottle[git,supervise]'"
        )

    def test_where_one_cannot_be_opened_none_stays_open(self, connection, kinds, opening):
        kinds["git"] = FAILING
        with pytest.raises(LaunchError, match="no room for bottle-1"):
            OpenGates(connection, opening())
        (egress,) = NotingGate.made
        assert eventually(lambda: egress.closed == 1)
        kinds["git"] = NOTING
        OpenGates(connection, opening()).close()

    def test_a_test_process_loads_none_of_their_libraries(self):
        code = (
            "import sys; import pytest_bottle.bottle, pytest_bottle.gateway.open_gates; "
            "print([one for one in ('aiohttp', 'mcp', 'mitmproxy', 'detect_secrets') "
            "if one in sys.modules])"
        )
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        )
        assert done.stdout == "[]\n"


class TestErrors:
    def test_an_error_of_ours_arrives_as_it_is(self, egress):
        with pytest.raises(LaunchError, match="it did not come up"):
            egress.call("fail to launch")

    def test_any_other_is_one_of_the_door(self, egress):
        with pytest.raises(DoorError, match="failed: ZeroDivisionError: nobody expected that"):
            egress.call("fail")

    def test_a_gate_that_is_not_there_is_one_too(self, connection, bottle):  # noqa: ARG002
        message = {"kind": "supervise", "verb": "note", "fields": {}}
        with pytest.raises(DoorError, match="has no supervise for bottle-1"):
            connection.call("gate", bottle="bottle-1", **message)
        with pytest.raises(DoorError, match="has no gates open for bottle-2"):
            connection.call("gate", bottle="bottle-2", **message)
        with pytest.raises(DoorError, match="knows no egress records of bottle-2, or no longer"):
            connection.call("gate-records", bottle="bottle-2", kind="egress", since=0)

    def test_one_error_is_not_the_end(self, egress):
        with pytest.raises(DoorError):
            egress.call("fail")
        egress.call("note", text="afterwards")
        assert texts(egress) == ["afterwards"]


class TestRecords:
    def test_each_gate_has_its_own(self, bottle):
        bottle.clients["egress"].call("note", text="one")
        bottle.clients["git"].call("note", text="two")
        assert texts(bottle.clients["egress"]) == ["one"]
        assert texts(bottle.clients["git"]) == ["two"]

    def test_all_come_however_many_there_are(self, egress):
        egress.call("note", times=2 * PAGE + 10)
        numbers = [record["number"] for record in egress.records()]
        assert numbers == list(range(2 * PAGE + 10))

    def test_what_is_still_on_its_way_is_waited_for(self, egress):
        egress.call("note late", text="what the guest has seen the end of")
        assert texts(egress) == ["what the guest has seen the end of"]

    def test_the_next_test_counts_from_its_own_beginning(self, bottle, egress):
        """Of a bottle that has a wider scope than a test."""
        egress.call("note", times=3, text="first test")
        bottle.begin()
        assert texts(egress) == []
        egress.call("note", text="second test")
        assert texts(egress) == ["second test"]
        bottle.begin()
        assert texts(egress) == []

    def test_what_came_between_two_tests_is_of_neither(self, bottle, egress):
        egress.call("note", text="seen")
        assert texts(egress) == ["seen"]
        egress.call("note", text="in between")
        bottle.begin()
        assert texts(egress) == []

    def test_they_stay_readable_when_the_gates_are_closed(self, bottle, egress):
        egress.call("note", text="before")
        bottle.close()
        bottle.close()
        assert texts(egress) == ["before"]
        assert [gate.closed for gate in NotingGate.made] == [1, 1]

    def test_no_secret_is_in_them(self, egress, tmp_path):
        egress.call(
            "note", text=f"{SECRET} token-of-the-host pass-of-this-bottle {SECRET.encode().hex()}"
        )
        written = (tmp_path / "evidence" / "bottle-1.egress.jsonl").read_text()
        for text in (json.dumps(egress.records()), written):
            for value in (SECRET, SECRET.encode().hex(), "token-of-the-host", "pass-of-this"):
                assert value not in text

    def test_a_test_is_warned_that_they_are_not_written_down(self, connection, opening, tmp_path):
        (tmp_path / "file").touch()
        bottle = OpenGates(connection, opening(evidence=tmp_path / "file"))
        bottle.clients["git"].call("note", text="kept")
        with pytest.warns(RecordsWarning) as caught:
            bottle.check()
        assert "bottle-1: git: records could not be written down" in str(caught[-1].message)
        assert texts(bottle.clients["git"]) == ["kept"]
        bottle.close()

    def test_and_of_nothing_where_they_are(self, bottle, egress):
        egress.call("note", text="kept")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            bottle.check()


class TestEventsAndQuestions:
    def test_a_gate_tells_its_client(self, egress):
        heard: list[Any] = []
        egress.on_event = heard.append
        egress.call("tell", what="look")
        assert eventually(lambda: [event["what"] for event in heard] == ["look"])

    def test_a_gate_asks_a_callable_of_the_test(self, egress):
        egress.on_ask = lambda number, request: {"turn": {"doubled": 2 * number, **request}}
        assert egress.call("ask", number=21, what="x") == {"doubled": 42, "what": "x"}

    def test_where_nobody_answers_it_hears_so(self, egress):
        with pytest.raises(DoorError, match="nobody answers that"):
            egress.call("ask", number=1, what="x")

    def test_a_gate_that_breaks_hangs_up_and_fails_the_test(self, bottle, egress):
        guests = []

        def listen(_port):
            guests.append(socket.create_server(("127.0.0.1", 0)))
            return guests[-1]

        bottle.listen(listen)
        bottle.check()
        egress.call("note", text="seen before")
        egress.call("tell", broken="its proxy ended")
        assert eventually(lambda: egress.broken)
        with pytest.raises(DoorError, match="lost the egress of bottle-1: its proxy ended"):
            bottle.check()
        assert eventually(lambda: all(guest.fileno() == -1 for guest in guests))
        assert texts(egress) == ["seen before"]


class TestEnds:
    def test_gates_of_a_process_that_leaves_are_closed_and_others_stay(
        self, connection, opening, bottle, tmp_path
    ):
        other = Connection(tmp_path / "run")
        theirs = OpenGates(other, opening("bottle-2"))
        theirs.clients["egress"].call("note", text="before")
        other.close()
        assert eventually(lambda: [gate.closed for gate in NotingGate.made] == [0, 0, 1, 1])
        bottle.clients["egress"].call("note", text="still here")
        reply = connection.call("gate-records", bottle="bottle-2", kind="egress", since=0)
        assert [record["text"] for record in reply["records"]] == ["before"]

    def test_what_was_seen_is_readable_when_the_door_has_gone(self, client, opening):
        """This door is a process of its own; its gate is the real one, for supervisors."""
        plan = DoorPlan(supervise=SupervisePlan())
        bottle = OpenGates(client.connection(), opening(plan=plan))
        supervise = bottle.clients["supervise"]
        assert supervise.records() == []
        client.close()
        assert eventually(lambda: supervise.broken == "the door has gone")
        with pytest.raises(DoorError, match="has gone"):
            supervise.records()
        bottle.begin()
        bottle.close()
        assert supervise.records() == []
