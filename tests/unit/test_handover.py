"""Listening sockets handed over: by an honest server, and by a guest in its place."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_bottle.backends.channel import handover
from pytest_bottle.backends.channel.handover import Landing
from pytest_bottle.backends.channel.handover import descriptors_in
from pytest_bottle.backends.channel.listeners import hand_over
from pytest_bottle.backends.channel.listeners import open_listener
from tests.unit.channel_guest import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from typing import BinaryIO


@pytest.fixture(autouse=True)
def _no_descriptor_is_left() -> Iterator[None]:
    own = psutil.Process()
    before = own.num_fds()
    yield
    assert eventually(lambda: own.num_fds() == before)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with open_listener(0, 8) as listener:
        yield listener


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def land(directory: Path, port: int) -> Landing:
    return Landing(directory, str(directory), port)


def send(path: str, words: bytes, fds: list[int]) -> None:
    """Send anything, as a guest may."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as post:
        post.settimeout(5)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))]
        post.connect(path)
        post.sendmsg([words], ancillary if fds else [])


class TestHonestServer:
    def test_the_socket_arrives_and_can_be_accepted_on(self, tmp_path, listener):
        with land(tmp_path, port_of(listener)) as landing:
            hand_over(listener.fileno(), landing.path, landing.token.encode())
            arrived = landing.take(5)
        assert arrived is not None
        listener.close()
        with (
            arrived,
            socket.create_connection(arrived.getsockname()) as guest,
            arrived.accept()[0] as host,
        ):
            host.sendall(b"hello")
            assert guest.recv(10) == b"hello"
            assert not arrived.get_inheritable()

    def test_any_port_will_do_where_none_was_asked_for(self, tmp_path, listener):
        with land(tmp_path, 0) as landing:
            hand_over(listener.fileno(), landing.path, landing.token.encode())
            arrived = landing.take(5)
        assert arrived is not None
        with arrived:
            assert port_of(arrived) == port_of(listener)

    def test_the_directory_may_be_deep(self, tmp_path, listener):
        """A socket's address has room for 107 bytes, and the server sees another path."""
        deep = tmp_path / ("deep" * 40)
        deep.mkdir()
        short = tmp_path / "short"
        short.symlink_to(deep)
        with Landing(deep, str(short), port_of(listener)) as landing:
            hand_over(listener.fileno(), landing.path, landing.token.encode())
            arrived = landing.take(5)
        assert arrived is not None
        arrived.close()

    def test_afterwards_nothing_is_left_to_send_to(self, tmp_path, listener):
        with land(tmp_path, port_of(listener)) as landing:
            path, token = landing.path, landing.token.encode()
            assert list(tmp_path.iterdir()) == [Path(path)]
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(FileNotFoundError):
            hand_over(listener.fileno(), path, token)

    def test_a_directory_that_is_gone_is_an_error(self, tmp_path):
        with pytest.raises(FileNotFoundError), land(tmp_path / "gone", 0):
            pass

    def test_what_nobody_takes_is_closed(self, tmp_path, listener):
        with land(tmp_path, port_of(listener)) as landing:
            hand_over(listener.fileno(), landing.path, landing.token.encode())
            time.sleep(0.1)

    def test_silence_ends_in_time(self, tmp_path):
        start = time.monotonic()
        with land(tmp_path, 80) as landing:
            assert landing.take(0.3) is None
        assert 0.3 <= time.monotonic() - start < 3


def a_datagram_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def an_idle_socket() -> socket.socket:
    one = socket.socket()
    one.bind(("127.0.0.1", 0))
    return one


def a_unix_socket() -> socket.socket:
    one = socket.socket(socket.AF_UNIX)
    one.bind(b"\0bottle-test-%d" % os.getpid())
    one.listen()
    return one


def another_address() -> socket.socket:
    return socket.create_server(("127.0.0.2", 0))


def all_addresses() -> socket.socket:
    return socket.create_server(("0.0.0.0", 0))


def another_family() -> socket.socket:
    return socket.create_server(("::1", 0), family=socket.AF_INET6)


def another_protocol() -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)  # MPTCP
    one.bind(("127.0.0.1", 0))
    one.listen()
    return one


def no_socket() -> BinaryIO:
    return Path(__file__).open("rb")


class TestHostileGuest:
    """It reaches the directory, may send what it likes, and may even have learnt the token."""

    @pytest.mark.parametrize(
        "make",
        [
            a_datagram_socket,
            an_idle_socket,
            a_unix_socket,
            another_address,
            all_addresses,
            another_family,
            another_protocol,
            no_socket,
        ],
    )
    def test_only_a_listener_on_the_loopback_is_taken(
        self, tmp_path, make: Callable[[], socket.socket | BinaryIO]
    ):
        with contextlib.ExitStack() as stack:
            try:
                made = make()
            except OSError as problem:
                pytest.skip(f"this host has no such socket: {problem}")
            stack.callback(made.close)
            with land(tmp_path, 0) as landing:
                send(landing.path, landing.token.encode(), [made.fileno()])
                assert landing.take(0.3) is None

    def test_another_port_is_not_taken(self, tmp_path, listener):
        with land(tmp_path, port_of(listener) ^ 1) as landing:
            send(landing.path, landing.token.encode(), [listener.fileno()])
            assert landing.take(0.3) is None

    @pytest.mark.parametrize("words", [b"", b"x" * 32, b"x" * 100_000], ids=["no", "wrong", "long"])
    def test_the_token_is_needed(self, tmp_path, listener, words):
        with land(tmp_path, port_of(listener)) as landing:
            send(landing.path, words, [listener.fileno()])
            assert landing.take(0.3) is None

    def test_more_than_the_token_is_not_it(self, tmp_path, listener):
        with land(tmp_path, port_of(listener)) as landing:
            send(landing.path, landing.token.encode() + b"x", [listener.fileno()])
            assert landing.take(0.3) is None

    @pytest.mark.parametrize("count", [0, 2, 3, 250])
    def test_one_descriptor_comes_or_none_is_kept(self, tmp_path, listener, count):
        with land(tmp_path, port_of(listener)) as landing:
            send(landing.path, landing.token.encode(), [listener.fileno()] * count)
            assert landing.take(0.3) is None

    def test_what_is_refused_is_closed(self, tmp_path):
        """Else a guest could fill this process's table of descriptors."""
        read, write = os.pipe()
        with land(tmp_path, 80) as landing:
            for _ in range(300):
                send(landing.path, b"for you", [write, write])
            os.close(write)
            os.set_blocking(read, True)
            assert os.read(read, 1) == b""
        os.close(read)

    def test_a_flood_does_not_keep_the_server_out(self, tmp_path, listener):
        over = threading.Event()

        def flood(path: str) -> None:
            with contextlib.suppress(OSError):
                while not over.is_set():
                    send(path, b"x" * 1000, [0, 0])

        with land(tmp_path, port_of(listener)) as landing:
            floods = [threading.Thread(target=flood, args=(landing.path,)) for _ in range(4)]
            for one in floods:
                one.start()
            hand_over(listener.fileno(), landing.path, landing.token.encode())
            arrived = landing.take(5)
            over.set()
        for one in floods:
            one.join()
        assert arrived is not None
        arrived.close()

    def test_what_takes_long_to_close_holds_nobody_up(self, tmp_path, monkeypatch):
        """As the last reference to a connection that lingers over what it could not send."""
        only_theirs = threading.Event()

        def descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
            assert only_theirs.wait(5)
            return descriptors_in(ancillary)

        monkeypatch.setattr(handover, "descriptors_in", descriptors)
        with socket.create_server(("127.0.0.1", 0)) as server:
            slow = socket.create_connection(server.getsockname())
            deaf, _ = server.accept()
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
            slow.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    slow.send(bytes(1 << 20))
            fd = slow.detach()
            start = time.monotonic()
            with land(tmp_path, 0) as landing:
                send(landing.path, b"slow", [fd])
                os.close(fd)
                only_theirs.set()
                assert landing.take(0.3) is None
            assert time.monotonic() - start < 3
            assert "bottle-landing" in [thread.name for thread in threading.enumerate()]
            deaf.close()
