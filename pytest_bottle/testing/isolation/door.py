"""Attempts to reach more than the door, when a door is open."""
# ruff: noqa: S101 -- checks assert

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING
from typing import Final

import pytest

from pytest_bottle.testing.conformance.heartbeat import wait_until
from pytest_bottle.testing.isolation.network import CONNECT
from pytest_bottle.testing.isolation.network import OUTSIDE
from pytest_bottle.testing.isolation.network import NetworkChecks
from pytest_bottle.testing.isolation.network import host_addresses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_bottle.bottle import Bottle
    from pytest_bottle.testing.conformance.subject import Launch

GREETING: Final = "come in"

LISTENING: Final = """\
ports = set()
for table in ("/proc/net/tcp", "/proc/net/tcp6"):
    try:
        rows = open(table).read().splitlines()[1:]
    except FileNotFoundError:
        continue
    ports |= {int(row.split()[1].split(":")[1], 16) for row in rows if row.split()[3] == "0A"}
print(json.dumps(sorted(ports)))
"""
"""Prints the ports on which anything listens in the network that it is in."""

SOCKETS_OF_THE_HOST: Final = """\
import os, socket, subprocess
prune = "( -path /proc -o -path /sys ) -prune -o".split()
find = ["find", "/", *prune, "-type", "s", "-print"]
reached = []
for path in subprocess.run(find, capture_output=True, text=True).stdout.splitlines():
    if path != arguments[0] and os.path.samefile(path, arguments[0]):
        continue  # Mounted in a second place.
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        with socket.socket(socket.AF_UNIX, kind) as client:
            client.settimeout(2)
            try:
                client.connect(path)
            except OSError:
                continue
            reached.append(path)
print(json.dumps(reached))
"""
"""Prints the sockets in files that take a connection; the first argument is one of the guest's."""


class DoorAttempts(NetworkChecks):
    """A bottle with a door reaches what is behind it, and nothing else."""

    @pytest.fixture
    def door(self, subject: Bottle) -> Iterator[int]:
        """Open a door that greets; return its port."""
        with greeting(subject.sandbox.listen(0)) as port:
            yield port

    def test_the_door_leads_to_no_other_port(
        self, subject: Bottle, canary: str, listener: int, door: int
    ) -> None:
        """Of the host, at any of its addresses; the host itself reaches them all."""
        addresses = sorted(host_addresses())
        for address in addresses:
            with socket.create_connection((address, listener), timeout=5) as client:
                assert client.recv(100).decode() == canary
        script = f"{CONNECT}\nprint(json.dumps([connect(*pair) for pair in arguments]))"
        pairs = [("127.0.0.1", door), *((address, listener) for address in addresses)]
        greeted, *others = self.run_python(subject, script, *pairs)
        assert greeted == GREETING
        assert others == [""] * len(addresses)

    def test_the_door_is_all_that_listens(self, subject: Bottle, listener: int, door: int) -> None:
        """In the guest's network, which has nothing of the host's."""

        def is_alone() -> bool:  # The door of the test before takes a moment to close.
            ports = self.run_python(subject, LISTENING)
            assert door in ports
            assert listener not in ports
            return bool(ports == [door])

        assert wait_until(is_alone, timeout=5 * self.patience)

    def test_the_door_leads_nowhere_outside(self, subject: Bottle, door: int) -> None:
        """No address is reached, no name is resolved, no route is there, but the door is."""
        script = f"""{CONNECT}
def resolve(name):
    try:
        return socket.getaddrinfo(name, 80)
    except OSError:
        return []
addresses, names, door = arguments
print(json.dumps([
    connect("127.0.0.1", door),
    [connect(address, port) for address in addresses for port in (53, 80, 443, door)],
    [resolve(name) for name in names],
    open("/proc/net/route").read().splitlines()[1:],
]))
"""
        names = ["example.com", "host.docker.internal", "metadata.google.internal"]
        greeted, *others = self.run_python(subject, script, OUTSIDE, names, door)
        assert greeted == GREETING
        assert others == [[""] * len(OUTSIDE) * 4, [[]] * len(names), []]

    def test_a_door_is_no_other_bottles(self, launch: Launch) -> None:
        """Whoever opens one for a bottle has opened none for its neighbour."""
        one, other = launch(), launch()
        script = f"{CONNECT}\nprint(json.dumps(connect('127.0.0.1', arguments[0])))"
        with greeting(one.sandbox.listen(0)) as port:
            assert self.run_python(one, script, port) == GREETING
            assert self.run_python(other, script, port) == ""

    def test_the_way_of_the_hand_over_is_closed(self, subject: Bottle, door: int) -> None:
        """No socket of the host is left where the guest could reach it; its own it does reach."""
        assert door
        serve = "import socket; s = socket.socket(socket.AF_UNIX); s.bind(arguments[0]); s.listen()"
        script = f"{serve}\n{SOCKETS_OF_THE_HOST}"
        own = f"{subject.workdir}/own.sock"
        assert self.run_python(subject, script, own) == [own]
        subject.exec(["rm", own]).check()


@contextlib.contextmanager
def greeting(listener: socket.socket) -> Iterator[int]:
    """Greet every connection; give the port."""

    def greet() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client:
                    client.sendall(GREETING.encode())

    thread = threading.Thread(target=greet, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)
