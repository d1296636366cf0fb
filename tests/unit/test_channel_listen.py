"""The exec channel: sockets that listen where the server is, handed over to the client."""

from __future__ import annotations

import array
import contextlib
import errno
import json
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from pytest_bottle.backends.channel import client
from pytest_bottle.backends.channel import frames
from pytest_bottle.backends.channel.client import Channel
from pytest_bottle.backends.channel.doors import hand_out
from pytest_bottle.backends.channel.handover import HandOverError
from pytest_bottle.backends.channel.handover import Landing
from pytest_bottle.backends.channel.stream import PipeStream
from pytest_bottle.backends.channel.stream import SocketStream
from pytest_bottle.errors import SandboxLostError
from tests.unit.channel_guest import LOST
from tests.unit.channel_guest import MIB
from tests.unit.channel_guest import eventually
from tests.unit.channel_guest import guest
from tests.unit.channel_guest import start_on_pipes

__all__ = ["guest"]


@pytest.fixture
def listen(guest, tmp_path):
    """Listen in the guest as its backend would: over a socket, or through a directory."""
    opened = []

    def listen(port=0):
        if isinstance(guest.channel._stream, PipeStream):
            with Landing(tmp_path, str(tmp_path), port) as landing:
                listener = hand_out(guest.channel, port, landing)
        else:
            listener = hand_out(guest.channel, port)
        opened.append(listener)
        return listener

    yield listen
    for listener in opened:
        listener.close()


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


class TestListening:
    def test_the_guests_connections_are_accepted_here(self, guest, listen):
        listener = listen()
        with ThreadPoolExecutor(1) as pool:
            script = f"exec 3<>/dev/tcp/127.0.0.1/{port_of(listener)}; echo hello >&3; cat <&3"
            asked = pool.submit(guest.exec, "bash", "-c", script)
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(100) == b"hello\n"
                connection.sendall(b"welcome")
            assert asked.result(10).stdout == "welcome"

    def test_the_port_is_the_one_asked_for(self, listen):
        port = port_of(listen())
        with pytest.raises(OSError, match=f"in use: '127.0.0.1:{port} in the guest'") as caught:
            listen(port)
        assert caught.value.errno == errno.EADDRINUSE

    def test_a_closed_socket_frees_its_port(self, listen):
        listener = listen()
        port = port_of(listener)
        listener.close()
        assert port_of(listen(port)) == port

    def test_the_server_keeps_nothing(self, guest, listen):
        server = psutil.Process(guest.process.pid)
        guest.exec("true")
        before = server.num_fds()
        port = port_of(listen())
        for _ in range(20):
            listen()
            with pytest.raises(OSError, match="in use"):
                listen(port)
        assert server.num_fds() == before

    def test_no_command_inherits_it(self, guest, listen):
        def seen(_number):
            return guest.exec("ls", "/proc/self/fd").stdout.split()

        with ThreadPoolExecutor(4) as pool:
            outputs = pool.map(seen, range(20))
            for _ in range(20):
                listen()
            assert list(outputs) == [["0", "1", "2", "3"]] * 20

    def test_each_socket_comes_with_its_own_answer(self, guest, listen):
        """However full the stream is with other commands' output."""
        with ThreadPoolExecutor(6) as pool:
            outputs = [
                pool.submit(guest.sh, "yes | head -c 20000000", output_limit=20 * MIB)
                for _ in range(2)
            ]
            ports = list(pool.map(lambda _: port_of(listen()), range(40)))
            assert len(set(ports)) == 40
            assert {len(output.result(30).stdout_bytes) for output in outputs} == {20_000_000}


class TestFailures:
    def test_a_landing_out_of_reach_says_so(self, guest, tmp_path):
        with (
            Landing(tmp_path, "/nowhere", 0) as landing,
            pytest.raises(HandOverError, match="No such file"),
        ):
            hand_out(guest.channel, 0, landing)
        assert guest.exec("echo", "alive").stdout == "alive\n"

    def test_pipes_carry_no_socket(self, tmp_path):
        process, channel = start_on_pipes(tmp_path)
        with pytest.raises(HandOverError, match="non-socket"):
            hand_out(channel, 0)
        channel.quit()
        assert process.wait(5) == 0
        channel.close()

    def test_a_lost_sandbox_says_so(self, guest, listen):
        guest.process.kill()
        assert guest.channel.wait_ended(5)
        with pytest.raises(SandboxLostError, match=LOST):
            listen()


@contextlib.contextmanager
def served_by(answer, fds=()):
    """Connect a channel to a server that answers the first frame with bytes and descriptors."""
    ours, theirs = socket.socketpair()

    def serve():
        theirs.recv(1000)
        rights = array.array("i", fds)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if fds else []
        theirs.sendmsg([answer], ancillary)

    thread = threading.Thread(target=serve, name="hostile-server")
    thread.start()
    channel = Channel(SocketStream(ours), lost=lambda: LOST)
    try:
        yield channel
    finally:
        thread.join(5)
        theirs.close()
        channel.close()


LISTENING = frames.HEADER.pack(2, frames.LISTEN, 1) + b"{}"


class TestHostileServer:
    def test_no_socket_is_a_lost_sandbox(self):
        with served_by(LISTENING) as channel, pytest.raises(SandboxLostError, match="no socket"):
            hand_out(channel, 80)

    @pytest.mark.parametrize("count", [1, 2, 200])
    def test_anything_else_is_closed(self, count):
        read, write = os.pipe()
        with served_by(LISTENING, [write] * count) as channel:
            with pytest.raises(SandboxLostError, match="handed over no socket"):
                hand_out(channel, 80)
            os.close(write)
        assert os.read(read, 1) == b""
        os.close(read)

    def test_what_nobody_asked_for_is_closed(self):
        read, write = os.pipe()
        answer = frames.HEADER.pack(2, frames.LISTEN, 7) + b"{}"
        with served_by(answer, [write]) as channel:
            channel._send(frames.KILL, 5, b"")
            assert eventually(
                lambda: "hostile-server" not in [thread.name for thread in threading.enumerate()]
            )
            os.close(write)
            assert os.read(read, 1) == b""
            assert not channel.wait_ended(0)
        os.close(read)

    def test_silence_ends_in_time(self, monkeypatch):
        monkeypatch.setattr(client, "LISTEN_GRACE", 0.3)
        answer = frames.HEADER.pack(2, frames.DETACH, 0) + b"{}"
        with (
            served_by(answer) as channel,
            pytest.raises(SandboxLostError, match="no socket that listens on port 80"),
        ):
            hand_out(channel, 80)

    def test_a_failure_without_a_reason_is_a_lost_sandbox(self):
        answer = frames.HEADER.pack(2, frames.FAILED, 1) + json.dumps({}).encode()
        with served_by(answer) as channel, pytest.raises(SandboxLostError, match=LOST):
            hand_out(channel, 80)
