"""A microVM has no network, with the door open or not."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING

from pytest_bottle.testing.isolation.door import GREETING
from pytest_bottle.testing.isolation.door import greeting
from pytest_bottle.testing.isolation.network import CONNECT
from pytest_bottle.testing.isolation.network import OUTSIDE
from pytest_bottle.testing.isolation.network import host_addresses

if TYPE_CHECKING:
    from pytest_bottle.bottle import Bottle


def probe(bottle: Bottle, pairs: list[tuple[str, int]]) -> list[str]:
    """Return what answers in the guest at each pair of address and port."""
    start = f"import sys, json\npatience = 1\n{CONNECT}"
    script = f"{start}\nprint(json.dumps([connect(*p) for p in {pairs!r}]))"
    answers: list[str] = json.loads(bottle.exec(["python3", "-c", script]).check().stdout)
    return answers


def test_there_is_no_way_but_loopback(reviewer):
    assert reviewer.read_file("/proc/net/route").splitlines()[1:] == []
    up = reviewer.sh("grep -l 1 /sys/class/net/*/carrier 2>/dev/null").stdout.split()
    assert {path.split("/")[4] for path in up} <= {"lo"}


def test_neither_the_host_nor_what_is_behind_it_answers(reviewer):
    """A listener on all addresses of the host does answer the host itself."""
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        with contextlib.closing(socket.create_connection(("127.0.0.1", port), 5)):
            listener.accept()[0].close()
        addresses = sorted(one for one in host_addresses() if ":" not in one)
        pairs = [(address, port) for address in addresses]
        pairs += [(address, 53) for address in OUTSIDE]
        assert set(probe(reviewer, pairs)) == {""}


def test_the_door_answers_and_nothing_else(reviewer):
    with (
        socket.create_server(("0.0.0.0", 0)) as listener,
        greeting(reviewer.sandbox.listen(0)) as door,
    ):
        other = listener.getsockname()[1]
        pairs = [("127.0.0.1", door), ("127.0.0.1", other), ("169.254.169.254", 80)]
        assert probe(reviewer, pairs) == [GREETING, "", ""]


def test_no_name_is_resolved(reviewer):
    script = "import socket, sys; print(socket.getaddrinfo(sys.argv[1], 80)[0][4][0])"
    answer = reviewer.exec(["python3", "-c", script, "localhost"]).check()
    assert answer.stdout in {"127.0.0.1\n", "::1\n"}
    refused = reviewer.exec(["python3", "-c", script, "example.com"], timeout=60)
    assert "gaierror" in refused.stderr
