"""The test process's end of the control socket."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import contextmanager
from typing import Any

import pytest

from pytest_bottle.errors import CassetteError
from pytest_bottle.errors import DoorError
from pytest_bottle.gateway import control
from pytest_bottle.gateway.client import Connection
from pytest_bottle.gateway.starting import read_door
from pytest_bottle.gateway.turns import say
from tests.unit.gateway.doors import Guest
from tests.unit.gateway.doors import LocalDoor
from tests.unit.gateway.doors import OneSource
from tests.unit.gateway.doors import hello


@contextmanager
def door_that(behaves, directory):
    """Take one connection, and do something with it in a thread."""
    with control.listen(directory) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                behaves(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        connection = Connection(directory)
        yield connection
        connection.close()
        thread.join(5)


def until_the_end(connection: socket.socket) -> None:
    while connection.recv(1000):
        pass


class TestCalls:
    def test_several_threads_get_each_their_own_replies(self, client):
        connection = client.connection()
        names = [f"bottle-{number}" for number in range(8)]
        guests = [Guest(connection, name) for name in names]
        found = {}

        def look(guest):
            guest.model.script(say(guest.opening.bottle))
            for _ in range(20):
                guest.ask()
            found[guest.opening.bottle] = [e.reply.text for e in guest.model.exchanges]

        threads = [threading.Thread(target=look, args=(guest,)) for guest in guests]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert found == {name: [name] * 20 for name in names}

    def test_what_the_door_came_across_is_raised_here_as_itself(self, tmp_path):
        def fail(_opening, _ask):
            raise CassetteError("it is empty.", file="cassettes/a.json")

        with LocalDoor(tmp_path, fail):
            connection = Connection(tmp_path)
            with pytest.raises(CassetteError, match=r"cassettes/a.json: it is empty\."):
                Guest(connection)
            connection.close()

    def test_what_the_door_does_not_know_is_an_error(self, client):
        with pytest.raises(DoorError, match="knows no operation 'dance'"):
            client.connection().call("dance")

    def test_a_bug_of_the_door_is_an_error_and_not_its_end(self, client):
        connection = client.connection()
        with pytest.raises(DoorError, match="failed: KeyError"):
            connection.call("open", opening={})
        assert connection.call("close", bottle="none") is not None

    def test_a_directory_may_have_a_long_name(self, tmp_path):
        directory = tmp_path / ("long" * 40)
        directory.mkdir()
        with LocalDoor(directory, lambda *_: OneSource(hello)):
            connection = Connection(directory)
            assert connection.call("close", bottle="none") is not None
            connection.close()

    def test_only_its_user_reaches_the_socket(self, tmp_path):
        with control.listen(tmp_path):
            assert (tmp_path / control.SOCKET_NAME).stat().st_mode & 0o777 == 0o600


class TestLoss:
    def test_there_is_no_door(self, tmp_path):
        with pytest.raises(DoorError, match="takes no connection"):
            Connection(tmp_path)

    def test_a_call_that_waits_ends_with_the_door(self, run, client):
        connection = client.connection()
        connection.call("close", bottle="none")
        raised = []

        def wait():
            with pytest.raises(DoorError, match="has gone") as failure:
                connection.call("close", bottle="none")
            raised.append(failure)

        door = read_door(run.directory)
        assert door is not None
        os.kill(door.pid, signal.SIGSTOP)
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.05)
        door.kill()
        thread.join(2)
        assert raised
        assert not connection.alive

    def test_a_door_that_does_not_answer_is_waited_for_no_longer_than_allowed(self, tmp_path):
        with door_that(until_the_end, tmp_path) as connection:
            began = time.monotonic()
            with pytest.raises(DoorError, match=r"did not answer for 0\.1 s when asked to wait"):
                connection.call("wait", timeout=0.1)
            assert time.monotonic() - began < 1

    def test_a_door_that_hangs_up_has_gone(self, tmp_path):
        with door_that(lambda connection: connection.recv(10), tmp_path) as connection:
            with pytest.raises(DoorError, match="has gone"):
                connection.call("wait")
            with pytest.raises(DoorError, match="has gone"):
                connection.call("wait")

    def test_a_door_that_speaks_something_else_has_gone(self, tmp_path):
        def babble(connection):
            connection.sendall(b"\0\0\0\5babel")
            until_the_end(connection)

        with door_that(babble, tmp_path) as connection, pytest.raises(DoorError, match="has gone"):
            connection.call("wait", timeout=5)

    def test_nothing_is_called_after_the_end(self, client):
        connection = client.connection()
        client.close()
        with pytest.raises(DoorError, match="has gone"):
            connection.call("close", bottle="none")


class TestWire:
    def test_messages_are_found_however_they_are_cut(self):
        data = b"".join(control.encode({"number": number}) for number in range(3))
        inbox, found = control.Inbox(), []
        for position in range(len(data)):
            inbox.feed(data[position : position + 1])
            found += [message["number"] for message, _ in inbox.messages()]
        assert found == [0, 1, 2]

    def test_descriptors_come_with_their_message(self):
        ours, theirs = socket.socketpair()
        reader, writer = os.pipe()
        control.send(ours, {"call": 1})
        control.send(ours, {"call": 2}, [writer])
        os.close(writer)
        inbox = control.Inbox()
        found: list[tuple[dict[str, Any], list[int]]] = []
        while len(found) < 2:
            data, fds, _, _ = socket.recv_fds(theirs, 1000, control.MAX_FDS)
            inbox.feed(data, fds)
            found += inbox.messages()
        (first, none), (second, (received,)) = found
        assert (first["call"], none, second["call"]) == (1, [], 2)
        os.write(received, b"x")
        assert os.read(reader, 1) == b"x"
        for descriptor in (received, reader):
            os.close(descriptor)
        ours.close()
        theirs.close()

    def test_descriptors_that_nobody_took_are_closed(self):
        reader, writer = os.pipe()
        inbox = control.Inbox()
        inbox.feed(b"", [writer])
        inbox.close()
        assert os.read(reader, 1) == b""
        os.close(reader)


def test_a_test_process_loads_nothing_heavy(start_python):
    script = """
import sys
import pytest_bottle.gateway.client, pytest_bottle.gateway.ledger, pytest_bottle.gateway.model
print([name for name in ("aiohttp", "asyncio", "filelock", "pydantic") if name in sys.modules])
"""
    assert start_python(script).stdout.read() == "[]\n"
