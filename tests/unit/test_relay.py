"""Connections of a guest's that its server carries over the channel."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from pytest_bottle.backends.channel import frames
from pytest_bottle.backends.channel.client import Channel
from pytest_bottle.backends.channel.doors import relay
from pytest_bottle.backends.channel.stream import SocketStream
from pytest_bottle.errors import SandboxLostError
from tests.unit.channel_guest import LOST
from tests.unit.channel_guest import MIB
from tests.unit.channel_guest import eventually
from tests.unit.channel_guest import guest

__all__ = ["guest"]


def free_port() -> int:
    """Return one that the guest, whose network is this host's, can have too."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def door(guest):
    """Open a door; give its listener and the guest's port."""
    port = free_port()
    with relay(guest.channel, port) as listener:
        assert listener.getsockname() == ("127.0.0.1", port)
        listener.settimeout(20)
        yield listener, port


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def pair(door) -> tuple[socket.socket, socket.socket]:
    """Return the guest's end and the host's end of one connection."""
    listener, port = door
    inside = connect(port)
    outside, _ = listener.accept()
    outside.settimeout(20)
    return inside, outside


def read_all(end: socket.socket) -> bytes:
    return b"".join(iter(lambda: end.recv(MIB), b""))


class TestPassing:
    def test_both_ways_and_one_end_at_a_time(self, door):
        inside, outside = pair(door)
        with inside, outside:
            inside.sendall(b"question")
            inside.shutdown(socket.SHUT_WR)
            assert read_all(outside) == b"question"
            outside.sendall(b"answer")
            outside.close()
            assert read_all(inside) == b"answer"

    def test_much_at_once(self, door):
        data = hashlib.shake_256(b"seed").digest(20 * MIB)
        inside, outside = pair(door)
        with inside, outside, ThreadPoolExecutor(3) as pool:

            def send(end):
                end.sendall(data)
                end.shutdown(socket.SHUT_WR)

            sent = [pool.submit(send, inside), pool.submit(send, outside)]
            received = pool.submit(read_all, inside)
            assert read_all(outside) == data
            assert received.result(20) == data
            assert [one.result() for one in sent] == [None, None]

    def test_many_do_not_mix(self, guest, door):
        ends = [pair(door) for _ in range(30)]
        for number, (inside, _) in enumerate(ends):
            inside.sendall(b"%d" % number)
        for number, (_, outside) in enumerate(ends):
            assert outside.recv(100) == b"%d" % number
            outside.sendall(b"for %d" % number)
        assert guest.exec("echo", "beside").stdout == "beside\n"
        for number, (inside, outside) in enumerate(ends):
            assert inside.recv(100) == b"for %d" % number
            inside.close()
            outside.close()

    @pytest.mark.parametrize("slow", ["inside", "outside"])
    def test_who_does_not_read_stalls_nobody_else(self, guest, door, slow):
        stalled = dict(zip(("inside", "outside"), pair(door), strict=True))
        writer = stalled["outside" if slow == "inside" else "inside"]
        writer.setblocking(False)
        sent = 0
        start = time.monotonic()
        while time.monotonic() - start < 0.7:
            with contextlib.suppress(BlockingIOError):
                sent += writer.send(bytes(MIB))
        assert sent < 30 * MIB
        inside, outside = pair(door)
        with inside, outside:
            inside.sendall(b"still")
            assert outside.recv(100) == b"still"
        assert guest.sh("head -c 3000000 /dev/zero").stdout_bytes == bytes(3_000_000)
        for end in stalled.values():
            end.close()

    def test_a_reset_arrives_as_an_end(self, door):
        for one in (0, 1):
            ends = pair(door)
            ends[one].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            ends[one].close()
            with ends[1 - one] as other:
                other.settimeout(5)
                with contextlib.suppress(ConnectionResetError):
                    assert other.recv(100) == b""


class TestEnding:
    def test_nothing_is_left_of_what_has_ended(self, guest, door):
        server, own = psutil.Process(guest.process.pid), psutil.Process()
        guest.exec("true")
        time.sleep(0.2)
        before = server.num_fds(), own.num_fds(), threading.active_count()
        for _ in range(20):
            inside, outside = pair(door)
            inside.close()
            outside.close()
        assert eventually(
            lambda: (server.num_fds(), own.num_fds(), threading.active_count()) == before
        )

    def test_all_end_with_the_channel(self, guest, door):
        inside, outside = pair(door)
        guest.channel.quit()
        assert guest.process.wait(5) == 0
        with inside, outside:
            assert inside.recv(1) == outside.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            connect(door[1])

    def test_the_port_is_no_other_processs_while_the_channel_is_there(self, door):
        """Else the guest would be led to whoever gets it next."""
        listener, _ = door
        address = listener.getsockname()
        listener.close()
        with pytest.raises(OSError, match="in use"):
            socket.create_server(address)

    def test_more_than_can_be_carried_are_hung_up_on(self, door):
        listener, port = door
        ends = [connect(port) for _ in range(140)]
        hung_up = 0
        for end in ends[128:]:
            with contextlib.suppress(ConnectionResetError):
                hung_up += end.recv(1) == b""
        assert hung_up
        for end in ends:
            end.close()
        del listener


class TestPort:
    def test_another_is_tried_where_the_guest_has_it(self, guest):
        """Here the guest has each, as its network is this host's."""
        with pytest.raises(OSError, match="in the guest") as caught:
            relay(guest.channel, 0)
        assert caught.value.errno == errno.EADDRINUSE
        assert guest.exec("echo", "alive").stdout == "alive\n"

    def test_one_that_was_asked_for_is_had_once(self, guest, door):
        """Until it is closed, and then nothing of the last one is left."""
        listener, port = door
        with pytest.raises(OSError, match="in use") as caught:
            relay(guest.channel, port)
        assert caught.value.errno == errno.EADDRINUSE
        listener.close()
        with relay(guest.channel, port) as second, connect(port) as inside:
            second.settimeout(20)
            outside, _ = second.accept()
            with outside:
                outside.sendall(b"again")
            assert inside.recv(100) == b"again"


class TestHostileServer:
    @pytest.mark.parametrize(
        "answer",
        [
            frames.HEADER.pack(4, frames.OPEN, 1) + struct.pack("!I", 1),
            frames.HEADER.pack(0, frames.OPEN, 1),
            frames.HEADER.pack(9, frames.OPEN, 1) + b"123456789",
        ],
        ids=["no-listener", "nothing", "too-much"],
    )
    def test_it_is_led_to_no_port_that_was_not_opened(self, answer):
        ours, theirs = socket.socketpair()
        channel = Channel(SocketStream(ours), lost=lambda: LOST)
        theirs.sendall(answer)
        assert channel.wait_ended(5)
        with pytest.raises(SandboxLostError, match=LOST):
            relay(channel, 0)
        theirs.close()
        channel.close()

    def test_it_cannot_fill_the_memory(self):
        ours, theirs = socket.socketpair()
        channel = Channel(SocketStream(ours), lost=lambda: LOST)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            channel.tunnels.lead_to(80, listener)
            theirs.sendall(frames.HEADER.pack(4, frames.OPEN, 1) + struct.pack("!I", 80))
            piece = frames.HEADER.pack(frames.WINDOW, frames.DATA, 1) + bytes(frames.WINDOW)
            with contextlib.suppress(OSError):
                for _ in range(100):
                    theirs.sendall(piece)
            assert channel.wait_ended(5)
        theirs.close()
        channel.close()

    def test_frames_about_nothing_do_nothing(self):
        ours, theirs = socket.socketpair()
        channel = Channel(SocketStream(ours), lost=lambda: LOST)
        for kind in (frames.DATA, frames.TAKEN, frames.SHUT, frames.CUT):
            theirs.sendall(frames.HEADER.pack(1, kind, 9) + b"x")
        assert not channel.wait_ended(0.3)
        theirs.close()
        channel.close()
