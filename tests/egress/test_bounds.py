"""What is slow, much, or too much for the disk takes nothing from anybody else."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import subprocess
import time
from contextlib import ExitStack
from contextlib import closing
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_bottle.door_plan import DoorPlan
from pytest_bottle.door_plan import EgressPlan
from pytest_bottle.errors import RecordsWarning
from pytest_bottle.gateway.client import Connection
from pytest_bottle.gateway.egress.gate import EgressGate
from pytest_bottle.gateway.egress.handle import Egress
from pytest_bottle.gateway.gate_opening import GateOpening
from pytest_bottle.gateway.open_gates import OpenGates
from pytest_bottle.gateway.starting import read_door
from pytest_bottle.session import SESSION_KEY
from tests.egress.conftest import ask_over_one_connection
from tests.egress.conftest import status
from tests.egress.servers import tcp_server
from tests.unit.gateway.doors import LocalDoor
from tests.unit.gateway.doors import OneSource
from tests.unit.gateway.doors import hello

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.bottle_requires("bubblewrap")

PASS = "the-pass-of-this-bottle"
HEADERS = {"Proxy-Authorization": "Basic " + base64.b64encode(f"bottle:{PASS}".encode()).decode()}


class Guest:
    """A process of this host that uses a bottle's proxy as one in the bottle would."""

    def __init__(self, gates: OpenGates) -> None:
        self.gates = gates
        self.egress = Egress(gates.clients["egress"], list)
        gates.listen(self._listen)

    def _listen(self, _port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", 0))
        self._port = listener.getsockname()[1]
        return listener

    def ask(self, method: str, target: str) -> int:
        """Return the status of the answer to one request."""
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)) as proxy:
            proxy.request(method, target, headers=HEADERS)
            return proxy.getresponse().status


@pytest.fixture
def open_guest(tmp_path) -> Iterator[Callable[..., Guest]]:
    """Open the proxy of one, through a door in this process."""
    with ExitStack() as ends:

        def open_guest(evidence: Path | None = None) -> Guest:
            ends.enter_context(LocalDoor(tmp_path, lambda *_: OneSource(hello)))
            connection = ends.enter_context(closing(Connection(tmp_path)))
            opening = GateOpening(
                bottle="bottle-1",
                token=PASS,
                plan=DoorPlan(egress=EgressPlan()),
                evidence=evidence,
                state=tmp_path,
                secrets={},
                credentials={},
            )
            return Guest(ends.enter_context(closing(OpenGates(connection, opening))))

        yield open_guest


@pytest.fixture
def impatient_guest(open_guest, monkeypatch) -> Guest:
    """A guest whose proxy waits for nobody longer than a second."""
    monkeypatch.setitem(EgressGate.__init__.__kwdefaults__, "timeout", 1.0)
    guest: Guest = open_guest()
    return guest


def test_a_server_that_never_answers_is_a_gateway_timeout(impatient_guest, web):
    impatient_guest.egress.allow(web.host)
    assert impatient_guest.ask("GET", f"{web.url}/silence") == 504
    assert impatient_guest.ask("GET", f"{web.url}/") == 200
    first, second = impatient_guest.egress.requests
    assert (first.status, first.reason) == (504, "no answer within 1 s")
    assert (second.status, second.reason) == (200, "")


def test_so_is_one_that_sends_half_a_head(impatient_guest):
    def begin(client: socket.socket) -> None:
        client.recv(10_000)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")
        client.recv(1)  # Until it hangs up.

    with tcp_server(begin) as port:
        impatient_guest.egress.allow(f"127.0.0.1:{port}")
        assert impatient_guest.ask("GET", f"http://127.0.0.1:{port}/") == 504
    assert [one.status for one in impatient_guest.egress.requests] == [504]


def test_the_others_do_not_wait_for_what_hangs(bottle_factory, web):
    bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
    other = bottle_factory(backend="bubblewrap", egress=[web.host])
    hanging = (
        f"for n in $(seq 20); do curl -s --noproxy '' {web.url}/silence & done >/dev/null 2>&1"
    )
    bottle.sh(hanging)
    begun = time.monotonic()
    assert [status(one, web.url) for one in (bottle, other)] == [200, 200]
    assert time.monotonic() - begun < 30
    assert len(other.egress.requests) == 1


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A directory for evidence on a disk of its own that holds 16 KiB."""
    directory = tmp_path / "evidence"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(directory)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this user can mount nothing")
    yield directory
    # Whoever still holds a file there does not keep it.
    subprocess.run(["umount", "--lazy", str(directory)], check=True)


def test_a_full_disk_takes_no_record_from_the_test(small_disk, open_guest, web):
    """And what did not fit is written when there is room."""
    guest = open_guest(small_disk)
    guest.egress.allow(web.host)
    (small_disk / "ballast").write_bytes(b"x" * 12_288)
    paths = [f"/{number}" for number in range(40)]
    for path in paths:
        assert guest.ask("GET", f"{web.url}{path}") == 200
    assert [request.path for request in guest.egress.requests] == paths
    with pytest.warns(RecordsWarning, match="egress: records could not be written down: .*space"):
        guest.gates.check()
    file = small_disk / "bottle-1.egress.jsonl"
    written = [json.loads(line)["path"] for line in file.read_text().splitlines()]
    assert written == paths[: len(written)]
    assert 0 < len(written) < 40

    (small_disk / "ballast").unlink()
    guest.gates.close()

    assert [json.loads(line)["path"] for line in file.read_text().splitlines()] == paths
    assert [request.path for request in guest.egress.requests] == paths


@pytest.mark.slow
def test_ten_thousand_answers_are_all_recorded_in_little_memory(
    open_bottle, web, tmp_path, request, record_property
):
    bottle = open_bottle(f"egress.allow = ['{web.host}']")
    run = request.config.stash[SESSION_KEY].lifecycle.run.directory
    owner = read_door(run)
    assert owner is not None
    door = psutil.Process(owner.pid)
    parts = {"door": door, "proxy": door.children()[0]}

    def ask(first: int, last: int) -> dict[str, float]:
        ask_over_one_connection(bottle, web.host, first, last, answer=200)
        return {name: part.memory_info().rss / 2**20 for name, part in parts.items()}

    before = ask(0, 1000)
    after = ask(1000, 10_000)

    paths = [f"/{number}" for number in range(10_000)]
    requests = bottle.egress.requests
    assert [one.path for one in requests] == paths
    assert {(one.verdict, one.status) for one in requests} == {("allowed", 200)}
    file = tmp_path / "evidence" / f"{bottle.name}.egress.jsonl"
    assert [json.loads(line)["path"] for line in file.read_text().splitlines()] == paths
    for name, bound in (("door", 48), ("proxy", 24)):
        grown = after[name] - before[name]
        record_property(f"{name}-grown-MiB", round(grown, 1))
        assert grown < bound, f"{name} grew by {grown:.0f} MiB to {after[name]:.0f} MiB"
