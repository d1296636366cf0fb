"""Bottles with a proxy, and the servers that they reach through it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from typing import TypeAlias

import pytest

from pytest_bottle.lifecycle.spec import spec_from_arguments
from pytest_bottle.manifest import load_manifest
from pytest_bottle.session import SESSION_KEY
from tests.egress.servers import Certificate
from tests.egress.servers import make_certificate
from tests.egress.servers import site

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_bottle.backends.base import ExecResult
    from pytest_bottle.bottle import Bottle
    from tests.egress.servers import Site

    OpenBottle: TypeAlias = Callable[[str], Bottle]


@pytest.fixture
def web() -> Iterator[Site]:
    """A web server."""
    with site() as found:
        yield found


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> Certificate:
    """Of a web server that the host trusts, once `secure_web` is asked for."""
    directory = tmp_path_factory.mktemp("certificates")
    return make_certificate(directory, "localhost", "DNS:localhost,IP:127.0.0.1")


@pytest.fixture
def secure_web(certificate, monkeypatch) -> Iterator[Site]:
    """A web server with TLS, which bottles that are opened after it can trust."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    with site(certificate) as found:
        yield found


@pytest.fixture
def open_bottle(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenBottle]:
    """Open a bottle whose `[bottles.box]` is given: `open_bottle("egress.allow = [...]")`."""
    session = request.config.stash[SESSION_KEY]
    bottles: list[Bottle] = []

    def open_bottle(table: str) -> Bottle:
        path = tmp_path / f"bottle-{len(bottles)}.toml"
        path.write_text(f'[bottles.box]\nbackend = "bubblewrap"\n{table}\n')
        spec = spec_from_arguments(request.node.nodeid, bottle="box")
        bottle = session.lifecycle.open(spec, load_manifest(path), evidence=tmp_path / "evidence")
        bottles.append(bottle)
        return bottle

    yield open_bottle
    for bottle in bottles:
        bottle.close()


KEEP_ALIVE = """
import base64, http.client, os, sys
target, first, last, status = sys.argv[1], *map(int, sys.argv[2:])
login = base64.b64encode(("bottle:" + os.environ["BOTTLE_PASS"]).encode()).decode()
proxy = http.client.HTTPConnection("127.0.0.1", 4181, timeout=60)
proxy.connect()
proxy.auto_open = 0
for number in range(first, last):
    url = f"http://{target}/{number}"
    proxy.request("GET", url, headers={"Proxy-Authorization": f"Basic {login}"})
    with proxy.getresponse() as answer:
        body = answer.read().decode()
        assert answer.status == status, (answer.status, body)
        assert status != 200 or body == f"hello from /{number}", body
"""


def ask_over_one_connection(
    bottle: Bottle, target: str, first: int, last: int, *, answer: int
) -> None:
    """Ask a host for the paths `/first` up to `/last`, which all have to get the same status."""
    numbers = [str(number) for number in (first, last, answer)]
    bottle.exec(["python3", "-c", KEEP_ALIVE, target, *numbers], timeout=600).check()


def curl(bottle: Bottle, *arguments: str, check: bool = True) -> ExecResult:
    """Run curl in a bottle, through its proxy also to what looks like the bottle itself."""
    result = bottle.exec(["curl", "-sS", "--noproxy", "", "--max-time", "60", *arguments])
    return result.check() if check else result


def status(bottle: Bottle, *arguments: str) -> int:
    """Return the status that curl gets, or the one by which its CONNECT is refused."""
    shown = "%{http_code} %{http_connect}"
    result = curl(bottle, "-o", "/dev/null", "-w", shown, *arguments, check=False)
    own, connect = result.stdout.split()[-2:]
    return int(own) or int(connect)


def eventually(condition: Callable[[], object], within: float = 30.0) -> bool:
    """Tell whether something comes true in time."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())
