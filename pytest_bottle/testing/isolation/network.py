"""Attempts to reach anything over a network."""
# ruff: noqa: S101 -- checks assert

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.testing.isolation.walled import WalledSubject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_bottle.bottle import Bottle
    from pytest_bottle.testing.conformance.subject import Launch

CONNECT = """\
import socket
def connect(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(2 * patience)
        try:
            client.connect((address, port))
            return client.recv(100).decode()
        except OSError:
            return ""
"""
"""Defines `connect`, given `patience`, which returns what a listener says first."""

OUTSIDE = ["169.254.169.254", "1.1.1.1", "8.8.8.8", "10.0.0.1", "172.17.0.1", "192.168.0.1"]
"""A cloud's metadata, public resolvers, and what gateways are often called."""


def host_addresses() -> set[str]:
    """Return the addresses of this host's interfaces, as its kernel lists them."""
    addresses = {"127.0.0.1", "::1"}
    lines = Path("/proc/net/fib_trie").read_text().splitlines()
    for above, line in itertools.pairwise(lines):
        if "host LOCAL" in line:
            addresses.add(above.split()[-1])
    for line in Path("/proc/net/if_inet6").read_text().splitlines():
        address = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line.split()[0]))
        if not address.startswith("fe80"):
            addresses.add(address)
    return {address for address in addresses if not address.endswith((".0", ".255"))}


class NetworkChecks(WalledSubject):
    """A bottle without a door reaches nothing at all."""

    @pytest.fixture
    def listener(self, canary: str) -> Iterator[int]:
        """Listen on all addresses of the host, and answer with the canary; return the port."""
        try:
            server = socket.create_server(
                ("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64
            )
        except (OSError, ValueError):
            server = socket.create_server(("", 0), backlog=64)

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client:
                        client.sendall(canary.encode())

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(10)

    def test_the_hosts_ports_are_out_of_reach(
        self, subject: Bottle, canary: str, listener: int
    ) -> None:
        """At none of its addresses; the host reaches them all."""
        addresses = sorted(host_addresses())
        reached = {}
        for address in addresses:
            with socket.create_connection((address, listener), timeout=5) as client:
                reached[address] = client.recv(100).decode()
        assert set(reached.values()) == {canary}
        script = f"{CONNECT}\nprint(json.dumps([connect(a, arguments[1]) for a in arguments[0]]))"
        answers = self.run_python(subject, script, addresses, listener)
        assert answers == [""] * len(addresses)

    def test_the_guest_reaches_itself(self, subject: Bottle) -> None:
        """The loopback is there, for servers of the agent's own; so `connect` does connect."""
        script = f"""{CONNECT}
import threading
server = socket.create_server(("127.0.0.1", 0))
def answer():
    client, _ = server.accept()
    client.sendall(b"hello")
    client.close()
threading.Thread(target=answer).start()
print(json.dumps(connect("127.0.0.1", server.getsockname()[1])))
"""
        assert self.run_python(subject, script) == "hello"

    def test_nothing_outside_is_reached(self, subject: Bottle) -> None:
        """Not a cloud's metadata, not a resolver, not a gateway; and it is refused, not awaited."""
        script = """
import socket, time
def attempt(address, port):
    with socket.socket() as client:
        client.settimeout(5 * patience)
        start = time.monotonic()
        try:
            client.connect((address, port))
        except OSError as problem:
            return [type(problem).__name__, time.monotonic() - start < 4 * patience]
        return ["connected", True]
print(json.dumps([attempt(a, port) for a in arguments[0] for port in (53, 80, 443)]))
"""
        outcomes = self.run_python(subject, script, OUTSIDE)
        assert all(outcome != ["connected", True] for outcome in outcomes)
        assert all(soon for _, soon in outcomes)

    def test_there_is_no_route(self, subject: Bottle) -> None:
        """Of either protocol, but to the loopback, which is there."""
        assert "lo:" in subject.read_file("/proc/net/dev")
        assert subject.read_file("/proc/net/route").splitlines()[1:] == []
        if subject.exists("/proc/net/ipv6_route"):
            routes = subject.read_file("/proc/net/ipv6_route").splitlines()
            assert {route.split()[-1] for route in routes} <= {"lo"}

    def test_no_name_is_resolved(self, subject: Bottle) -> None:
        """But that of the guest itself."""
        script = """
import socket
def resolve(name):
    try:
        return [info[4][0] for info in socket.getaddrinfo(name, 80)]
    except OSError:
        return []
print(json.dumps([resolve(name) for name in arguments]))
"""
        names = ["localhost", "example.com", "host.docker.internal", "metadata.google.internal"]
        localhost, *others = self.run_python(subject, script, *names)
        assert "127.0.0.1" in localhost
        assert others == [[]] * len(others)

    def test_datagrams_do_not_arrive(self, subject: Bottle) -> None:
        """Although nobody would answer them; the host's own do."""
        script = """
import socket
for address in arguments[0]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(b"from inside", (address, arguments[1]))
        except OSError:
            pass
print(json.dumps("sent"))
"""
        addresses = sorted(address for address in host_addresses() if ":" not in address)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("0.0.0.0", 0))  # noqa: S104 -- all addresses are to be tried
            receiver.settimeout(5)
            port = receiver.getsockname()[1]
            assert self.run_python(subject, script, addresses, port) == "sent"
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"from the host", ("127.0.0.1", port))
            assert receiver.recv(100) == b"from the host"

    def test_other_bottles_are_out_of_reach(self, launch: Launch) -> None:
        """Their loopback is not this one's."""
        one, other = launch(), launch()
        serve = """
import socket, time
server = socket.create_server(("0.0.0.0", 4711))
open("up", "w").close()
while True:
    server.accept()[0].sendall(b"hello")
"""
        one.write_file("serve.py", serve)
        one.sh(f"{self.python} serve.py > /dev/null 2>&1 &").check()
        one.sh("while [ ! -e up ]; do sleep 0.1; done", timeout=20 * self.patience).check()
        script = f"{CONNECT}\nprint(json.dumps(connect('127.0.0.1', 4711)))"
        assert self.run_python(one, script) == "hello"
        assert self.run_python(other, script) == ""
