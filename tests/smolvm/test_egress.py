"""A microVM that may reach one address reaches that one, and what it was refused is told."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from pytest_bottle import process
from pytest_bottle.testing.isolation.network import OUTSIDE
from pytest_bottle.testing.isolation.network import host_addresses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_bottle.bottle import Bottle

pytestmark = [pytest.mark.slow, pytest.mark.bottle_requires("root")]

ALLOWED = "198.51.100.11"
DENIED = "198.51.100.12"
"""Addresses for documentation, which this host has as long as the tests run."""

GREETING = b"hello"

TRY = """
import json, socket, sys
def reach(address, port):
    with socket.socket() as client:
        client.settimeout(30)
        try:
            client.connect((address, port))
            return client.recv(64).decode()
        except OSError as problem:
            return type(problem).__name__
print(json.dumps([reach(address, int(port)) for address, port in json.loads(sys.argv[1])]))
"""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A port that greets on all of this host's addresses, the two above among them."""
    with contextlib.ExitStack() as undo:
        for address in (ALLOWED, DENIED):
            configure("add", address)
            undo.callback(configure, "del", address)
        listener = undo.enter_context(socket.create_server(("0.0.0.0", 0)))
        threading.Thread(target=greet, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def configure(verb: str, address: str) -> None:
    done = process.run(["ip", "address", verb, f"{address}/32", "dev", "lo"], timeout=30)
    assert done.returncode == 0, done.stderr


def greet(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            with client:
                client.sendall(GREETING)


@pytest.fixture(scope="module")
def bottle(bottle_factory) -> Bottle:
    made: Bottle = bottle_factory(agent="silent", network=[ALLOWED])
    return made


def reach(bottle: Bottle, *pairs: tuple[str, int]) -> list[str]:
    """Return the greeting, or the error, that the guest gets at each address and port."""
    done = bottle.exec(["python3", "-c", TRY, json.dumps(pairs)], timeout=240)
    answers: list[str] = json.loads(done.check().stdout)
    return answers


def test_the_allowed_address_answers_and_no_other(bottle, port):
    """The host itself is answered at both."""
    for address in (ALLOWED, DENIED):
        with socket.create_connection((address, port), 10) as client:
            assert client.recv(64) == GREETING
    hosts = [one for one in sorted(host_addresses()) if ":" not in one and one != ALLOWED]
    refused = [(one, port) for one in hosts if not one.startswith("127.")]
    refused += [(one, 80) for one in OUTSIDE]
    assert (DENIED, port) in refused
    before = len(bottle.egress.denied)
    assert reach(bottle, (ALLOWED, port), *refused) == [
        GREETING.decode(),
        *["ConnectionRefusedError"] * len(refused),
    ]
    denied = [(denial.protocol, denial.host, denial.port) for denial in bottle.egress.denied]
    assert denied[before:] == [("tcp", *pair) for pair in refused]


def test_no_name_exists_where_only_addresses_are_allowed(bottle):
    """The engine would answer otherwise, by way of the host's resolvers."""
    before = len(bottle.egress.denied)
    ask = "import socket; socket.gethostbyname('example.com')"
    looked_up = bottle.exec(["python3", "-c", ask], timeout=120)
    assert "Name or service not known" in looked_up.stderr
    denied = [(denial.protocol, denial.host) for denial in bottle.egress.denied]
    assert set(denied[before:]) == {("dns", "example.com")}


def test_a_branch_is_held_to_the_same_list_and_has_denials_of_its_own(bottle, port):
    with bottle.branch() as branch:
        assert branch.egress.denied == []
        answers = reach(branch, (ALLOWED, port), (DENIED, port))
        assert answers == [GREETING.decode(), "ConnectionRefusedError"]
        (denial,) = branch.egress.denied
        assert (denial.host, denial.port, denial.protocol) == (DENIED, port, "tcp")
