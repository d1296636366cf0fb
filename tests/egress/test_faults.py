"""When something behind a bottle's proxy fails, or the proxy does, nothing opens."""

from __future__ import annotations

import socket
import time

import pytest

from pytest_bottle.gateway.egress.environment import environment_directory
from tests.egress.conftest import ask_over_one_connection
from tests.egress.conftest import curl
from tests.egress.conftest import eventually
from tests.egress.conftest import status
from tests.egress.servers import hang_up
from tests.egress.servers import tcp_server

CACHE = str(environment_directory().parent.parent)
"""Where the proxy's environment is, as long as HOME is this run's own."""

pytestmark = pytest.mark.bottle_requires("bubblewrap")


def test_a_server_that_is_not_there_is_a_bad_gateway(bottle_factory):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    bottle = bottle_factory(backend="bubblewrap", egress=[f"127.0.0.1:{port}"])
    assert status(bottle, f"http://127.0.0.1:{port}/") == 502
    (request,) = bottle.egress.requests
    assert (request.verdict, request.status) == ("allowed", 502)
    assert "refused" in request.reason.lower() or "connect call failed" in request.reason.lower()


def test_so_is_one_that_resets(bottle_factory, web):
    bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
    assert status(bottle, f"{web.url}/reset") == 502
    assert [request.status for request in bottle.egress.requests] == [502]
    assert status(bottle, f"{web.url}/") == 200


def test_a_response_that_breaks_off_is_told_as_such(bottle_factory):
    def serve(client: socket.socket) -> None:
        client.recv(10_000)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        time.sleep(0.2)
        hang_up(client)

    with tcp_server(serve) as port:
        bottle = bottle_factory(backend="bubblewrap", egress=[f"127.0.0.1:{port}"])
        assert curl(bottle, f"http://127.0.0.1:{port}/", check=False).returncode == 18
    (request,) = bottle.egress.requests
    assert (request.status, request.received) == (200, 4)
    assert request.reason


def test_a_certificate_that_the_host_does_not_trust_is_none(open_bottle, secure_web, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    bottle = open_bottle(f"egress.allow = ['{secure_web.host}']")
    assert status(bottle, f"{secure_web.url}/") == 502
    (request,) = bottle.egress.requests
    assert "Certificate verify failed" in request.reason
    assert secure_web.seen == []


def test_a_guest_that_hangs_up_is_recorded(bottle_factory, web):
    bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
    assert not curl(bottle, "-m", "1", f"{web.url}/silence", check=False).success
    assert eventually(lambda: [one.status for one in bottle.egress.requests] == [499])


@pytest.mark.usefixtures("_proxy_environment")
def test_a_proxy_dies_with_its_door(pytester, tmp_path, monkeypatch):
    """Whatever kills that, and whatever the proxy is at."""
    monkeypatch.setenv("XDG_CACHE_HOME", CACHE)  # The inner run has another home.
    pytester.makepyfile(
        f"""
        import os, pathlib, signal, time
        import psutil
        from pytest_bottle.gateway.starting import read_door
        from pytest_bottle.session import SESSION_KEY

        def test_it(bottle_factory, request):
            bottle_factory(backend="bubblewrap", egress=[])
            run = request.config.stash[SESSION_KEY].lifecycle.run.directory
            door = psutil.Process(read_door(run).pid)
            (proxy,) = door.children()
            proxy.suspend()
            door.kill()
            deadline = time.monotonic() + 20
            while proxy.is_running() and proxy.status() != "zombie":
                assert time.monotonic() < deadline
                time.sleep(0.05)
            pathlib.Path({str(tmp_path / "done")!r}).touch()
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:randomly", timeout=120)
    assert (tmp_path / "done").exists()


def test_many_denied_requests_over_one_connection(bottle_factory, web):
    bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
    ask_over_one_connection(bottle, "127.0.0.1:1", 0, 1_000, answer=403)
    denied = bottle.egress.denied
    assert len(denied) == 1_000
    assert denied[999].path == "/999"
    assert status(bottle, web.url) == 200
