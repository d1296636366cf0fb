"""Attempts to reach what the bottle may not reach."""
# ruff: noqa: S101, PLR2004 -- checks assert, on HTTP's numbers

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_bottle.testing.escape.armed import ArmedSubject
from pytest_bottle.testing.escape.witness import GREETING
from pytest_bottle.testing.escape.witness import datagrams
from pytest_bottle.testing.isolation.network import OUTSIDE
from pytest_bottle.testing.isolation.network import host_addresses

if TYPE_CHECKING:
    from pytest_bottle.bottle import Bottle
    from pytest_bottle.testing.escape.witness import Witness

THROUGH = "print(json.dumps(ask(*arguments[:1], proxy=through, **dict(arguments[1:]))))"
"""Asks for a URL through the proxy."""

DIRECT = "print(json.dumps(ask(arguments[0])))"

RAW = "print(json.dumps(raw(door, arguments[0].replace('PASS', pass_line))))"
"""Sends bytes to the proxy."""

SPELLINGS = [
    "127.0.0.1",
    "localhost",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.1",
    "0.0.0.0",  # noqa: S104 -- an attempt
    "[::1]",
    "[::ffff:127.0.0.1]",
    "127.0.0.1.",
]
"""Ways to write an address of this host."""


class DestinationAttempts(ArmedSubject):
    """Through the proxy, and past it."""

    @pytest.mark.parametrize("spelling", SPELLINGS)
    def test_a_place_that_is_not_allowed(
        self, armed: Bottle, forbidden: Witness, spelling: str
    ) -> None:
        """However its address is written; the host itself reaches it."""
        assert self.control(DIRECT, f"http://127.0.0.1:{forbidden.port}/")[0] == 200
        before = len(forbidden.heard)
        status, _ = self.attempt(armed, THROUGH, f"http://{spelling}:{forbidden.port}/")
        assert status in {0, 400, 403}
        assert len(forbidden.heard) == before

    def test_a_place_that_is_allowed_is_reached(self, armed: Bottle, allowed: Witness) -> None:
        """And nothing but the very same way: so the others were refused for what they are."""
        assert self.attempt(armed, THROUGH, f"http://{allowed.place}/hello") == [200, GREETING]
        assert allowed.heard[-1].startswith(b"GET /hello ")

    def test_a_refusal_says_which_rule_and_how_to_ask(
        self, armed: Bottle, forbidden: Witness
    ) -> None:
        """To the agent, and to the test."""
        status, words = self.attempt(armed, THROUGH, f"http://{forbidden.place}/refused")
        assert status == 403
        assert forbidden.place.partition(":")[0] in words
        denied = armed.egress.denied[-1]
        assert (denied.host, denied.port, denied.path) == ("127.0.0.1", forbidden.port, "/refused")
        assert denied.verdict == "denied"

    def test_a_forged_host_header(
        self, armed: Bottle, allowed: Witness, forbidden: Witness
    ) -> None:
        """An allowed name in the header opens no other address, and the other way round."""
        before = len(forbidden.heard)
        for target, host in ((forbidden, allowed), (allowed, forbidden)):
            text = (
                f"GET http://{target.place}/forged HTTP/1.1\r\nHost: {host.place}\r\nPASS"
                "Connection: close\r\n\r\n"
            )
            self.attempt(armed, RAW, text)
        assert len(forbidden.heard) == before
        assert not any(
            f"Host: {forbidden.place}".encode() in request
            for request in allowed.heard
            if b"/forged" in request
        )

    def test_a_tunnel_to_a_port_that_is_not_allowed(
        self, armed: Bottle, allowed: Witness, forbidden: Witness
    ) -> None:
        """Of a host that is; a tunnel to the port that is allowed is given."""
        connect = "CONNECT {0} HTTP/1.1\r\nHost: {0}\r\nPASS\r\n"
        inner = f"GET /tunnel HTTP/1.1\r\nHost: {forbidden.place}\r\n\r\n"
        before = len(forbidden.heard)
        answer = self.attempt(armed, RAW, connect.format(forbidden.place) + inner)
        assert answer.startswith("HTTP/1.1 403")
        for port in (22, 25):
            answer = self.attempt(armed, RAW, connect.format(f"127.0.0.1:{port}"))
            assert answer.startswith("HTTP/1.1 403")
        assert len(forbidden.heard) == before
        script = (
            "text = arguments[0].replace('PASS', pass_line)\n"
            "with socket.create_connection(door, timeout=10 * patience) as client:\n"
            "    client.sendall(text.encode())\n"
            "    print(json.dumps(client.recv(100).decode()))"
        )
        assert " 200 " in self.attempt(armed, script, connect.format(allowed.place))

    def test_a_tunnel_that_says_another_host_inside(
        self, armed: Bottle, allowed: Witness, forbidden: Witness
    ) -> None:
        """A request in a tunnel to an allowed place is for that place."""
        script = """
text = arguments[0].replace("PASS", pass_line).encode()
with socket.create_connection(door, timeout=10 * patience) as client:
    client.sendall(text)
    answer = client.recv(65536)
    client.sendall(arguments[1].encode())
    client.settimeout(5 * patience)
    try:
        answer += client.recv(65536)
    except OSError:
        pass
print(json.dumps(answer.decode("latin-1")))
"""
        connect = f"CONNECT {allowed.place} HTTP/1.1\r\nHost: {allowed.place}\r\nPASS\r\n"
        inner = f"GET /fronted HTTP/1.1\r\nHost: {forbidden.place}\r\n\r\n"
        before = len(forbidden.heard)
        self.attempt(armed, script, connect, inner)
        assert len(forbidden.heard) == before
        fronted = [request for request in allowed.heard if b"/fronted" in request]
        assert not any(forbidden.place.encode() in request for request in fronted)

    def test_a_redirect_to_a_place_that_is_not_allowed(
        self, armed: Bottle, allowed: Witness, forbidden: Witness
    ) -> None:
        """Each hop is a request of its own; one to an allowed place is followed."""
        before = len(forbidden.heard)
        allowed.redirect = f"http://{forbidden.place}/redirected"
        status, _ = self.attempt(armed, THROUGH, f"http://{allowed.place}/redirect")
        assert status == 403
        assert len(forbidden.heard) == before
        allowed.redirect = f"http://{allowed.place}/redirected"
        assert self.attempt(armed, THROUGH, f"http://{allowed.place}/redirect") == [200, GREETING]

    def test_the_metadata_of_a_cloud(self, armed: Bottle) -> None:
        """Through the proxy, by address, name, and either of them for the other."""
        for place in ("169.254.169.254", "metadata.google.internal", "[fd00:ec2::254]"):
            status, _ = self.attempt(armed, THROUGH, f"http://{place}/latest/meta-data/")
            assert status in {0, 400, 403}
        hosts = {request.host for request in armed.egress.denied}
        assert "169.254.169.254" in hosts

    def test_past_the_proxy(self, armed: Bottle, allowed: Witness) -> None:
        """Without its variables, and with a socket of one's own, not even what is allowed."""
        place = f"http://{allowed.place}/direct"
        assert self.control(DIRECT, place)[0] == 200
        before = len(allowed.heard)
        assert self.attempt(armed, DIRECT, place)[0] == 0
        script = """
reached = []
for address in arguments[0]:
    for port in (arguments[1], 443, 53):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family) as client:
            client.settimeout(2)
            try:
                client.connect((address, port))
                reached.append([address, port])
            except OSError:
                pass
print(json.dumps(reached))
"""
        addresses = [*sorted(host_addresses()), *OUTSIDE]
        assert self.attempt(armed, script, addresses, allowed.port) == []
        assert len(allowed.heard) == before

    def test_datagrams(self, armed: Bottle, secret: str) -> None:
        """QUIC's and a resolver's are those of UDP, and none arrives; the host's own does."""
        script = """
for address in arguments[0]:
    for port in arguments[1]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            try:
                sender.sendto(arguments[2].encode(), (address, port))
            except OSError:
                pass
print(json.dumps("sent"))
"""
        addresses = sorted(address for address in host_addresses() if ":" not in address)
        with datagrams() as (port, receiver):
            assert self.attempt(armed, script, addresses, [port, 53, 443], secret) == "sent"
            assert self.control(script, ["127.0.0.1"], [port], "from the host") == "sent"
            assert receiver.recv(200) == b"from the host"

    def test_a_name_is_not_resolved_inside(self, armed: Bottle, secret: str) -> None:
        """A resolver would carry it out; the guest's own name is resolved."""
        script = """
def resolve(name):
    try:
        return len(socket.getaddrinfo(name, 80)) > 0
    except OSError:
        return False
print(json.dumps([resolve(name) for name in arguments]))
"""
        names = ["localhost", f"{secret[:60]}.example.org", "example.org"]
        assert self.attempt(armed, script, *names) == [True, False, False]

    def test_the_proxys_own_pages(self, armed: Bottle) -> None:
        """There is no page by which it could be asked, or told, anything."""
        for place in ("mitm.it", "127.0.0.1:4181", "localhost:4181", "127.0.0.1:8080"):
            status, words = self.attempt(armed, THROUGH, f"http://{place}/")
            assert status in {0, 400, 403}
            assert "mitmproxy" not in words.lower()
