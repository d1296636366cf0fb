"""The door process: one for a whole run, and gone with it."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.errors import DoorError
from pytest_bottle.errors import RunEndedError
from pytest_bottle.gateway.starting import ensure_door
from pytest_bottle.gateway.starting import read_door
from pytest_bottle.gateway.turns import delay
from pytest_bottle.gateway.turns import say
from pytest_bottle.reaper import end_workers
from pytest_bottle.state.journal import read_journals
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.tree import remove_tree
from pytest_bottle.usage import Budget
from pytest_bottle.usage import Usage
from tests.unit.gateway.doors import Guest

if TYPE_CHECKING:
    from pytest_bottle.state.run import Run

START = """
import sys
from pytest_bottle.gateway.starting import ensure_door
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.run import Run
controller = Owner.decode(sys.argv[2]) if sys.argv[2] else Owner.current()
run = Run.join(sys.argv[1], "main", controller)
print(ensure_door(run).encode(), run.directory, flush=True)
sys.stdin.read()
"""


def kill_door(run: Run) -> Owner:
    """Kill the door of a run, and return what it was."""
    door = read_door(run.directory)
    assert door is not None
    door.kill()
    assert door.wait(5)
    return door


class TestStart:
    def test_all_workers_get_the_same_door(self, run, client, start_python):
        workers = [start_python(START, run.id, run.controller.encode()) for _ in range(4)]
        doors = {worker.stdout.readline().split()[0] for worker in workers}
        assert doors == {ensure_door(run).encode()}
        assert client.connection().alive

    def test_it_takes_calls_before_it_can_serve_them(self, client):
        began = time.monotonic()
        client.start()
        connection = client.connection()
        waited = time.monotonic() - began
        connection.call("close", bottle="none")
        assert time.monotonic() - began > waited

    def test_a_run_that_is_gone_gets_none(self, run):
        remove_tree(run.directory)
        with pytest.raises(RunEndedError):
            ensure_door(run)

    def test_a_run_that_has_ended_gets_none(self, run):
        (run.directory / "ended").touch()
        with pytest.raises(RunEndedError):
            ensure_door(run)

    def test_a_door_that_cannot_load_is_an_error_with_its_words(self, run, client):
        (run.directory / "ledger.jsonl").mkdir()
        with pytest.raises(DoorError, match="IsADirectoryError"):
            client.connection().call("close", bottle="none")


class TestEnd:
    def test_it_ends_with_its_run(self, run, client):
        door = ensure_door(run)
        client.connection()
        (run.directory / "ended").touch()
        assert door.wait(1)
        assert not (run.directory / "door.sock").exists()
        assert read_journals(run.directory) == []

    def test_it_ends_when_it_has_just_begun(self, run):
        for _ in range(3):
            door = ensure_door(run)
            (run.directory / "ended").touch()
            assert door.wait(1)
            (run.directory / "ended").unlink()

    def test_it_ends_when_it_is_told_to(self, run, client):
        door = ensure_door(run)
        client.connection().call("close", bottle="none")
        os.kill(door.pid, signal.SIGTERM)
        assert door.wait(1)
        assert not (run.directory / "door.sock").exists()

    def test_it_ends_when_its_controller_is_killed(self, root, start_python):
        controller = start_python(START, "feedfacefeed", "")
        door = Owner.decode(controller.stdout.readline().split()[0])
        assert door.alive()
        controller.kill()
        controller.wait()
        assert door.wait(1)
        assert not (root / "runs" / "feedfacefeed" / "door.sock").exists()

    def test_it_ends_when_its_directory_is_gone(self, run):
        door = ensure_door(run)
        remove_tree(run.directory)
        assert door.wait(1)

    def test_a_request_that_is_being_answered_does_not_hold_it(self, run, client):
        door = ensure_door(run)
        guest = Guest(client.connection())
        guest.model.script(delay(3), say("late"))
        with guest.send_raw(guest.raw_request()) as raw:
            raw.settimeout(0.2)
            with pytest.raises(TimeoutError):
                raw.recv(1)
            (run.directory / "ended").touch()
            assert door.wait(1)

    def test_a_door_that_hangs_is_ended_with_the_workers(self, run):
        door = ensure_door(run)
        os.kill(door.pid, signal.SIGSTOP)
        (run.directory / "ended").touch()
        end_workers(run.directory, grace=0.1)
        assert door.wait(1)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
    def test_signals_of_a_terminal_pass_it_by(self, run, client, number):
        door = ensure_door(run)
        client.connection().call("close", bottle="none")
        os.kill(door.pid, number)
        assert not door.wait(0.2)

    def test_the_death_of_the_worker_that_started_it_passes_it_by(self, run, client, start_python):
        worker = start_python(START, run.id, run.controller.encode(), start_new_session=True)
        door = Owner.decode(worker.stdout.readline().split()[0])
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
        assert not door.wait(0.3)
        assert client.connection().call("close", bottle="none") is not None


class TestDeath:
    def test_an_open_bottles_calls_fail_at_once(self, run, client):
        guest = Guest(client.connection())
        kill_door(run)
        began = time.monotonic()
        with pytest.raises(DoorError, match="has gone"):
            _ = guest.model.requests
        assert time.monotonic() - began < 1

    def test_the_next_bottle_gets_a_new_door(self, run, client):
        client.connection()
        dead = kill_door(run)
        guest = Guest(client.connection())
        guest.model.script(say("hello"))
        assert guest.ask()[0] == 200
        assert ensure_door(run) != dead

    def test_what_was_spent_still_counts_with_the_next_one(self, run, client):
        budget = Budget(tokens=100)
        guest = Guest(client.connection(), run_budget=budget)
        guest.model.script(say("hello", usage=Usage(output_tokens=100)))
        guest.ask()
        kill_door(run)
        other = Guest(client.connection(), "bottle-2", run_budget=budget)
        other.model.script(say("hello"))
        assert other.ask()[0] == 400

    def test_the_ledger_and_the_evidence_stay(self, run, client, tmp_path):
        guest = Guest(client.connection(), evidence=tmp_path / "evidence")
        guest.model.script(say("hello"))
        guest.ask()
        kill_door(run)
        assert (run.directory / "ledger.jsonl").read_text().count("bottle-1") == 1
        assert "hello" in (tmp_path / "evidence" / "bottle-1.model.jsonl").read_text()
