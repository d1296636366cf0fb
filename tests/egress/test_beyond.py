"""What stands behind a bottle's proxy: another proxy, and the bottle's own model."""

from __future__ import annotations

import contextlib
import json
import socket
import threading

import pytest

from pytest_bottle import say
from tests.egress.conftest import curl
from tests.egress.conftest import status
from tests.egress.servers import tcp_server

pytestmark = pytest.mark.bottle_requires("bubblewrap")

ASK = [
    "-d",
    json.dumps({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}),
]


@pytest.fixture
def upstream():
    """A tiny proxy: yields its URL and what it was asked for."""
    asked = []

    def serve(client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(1000)
        line = head.split(b"\r\n")[0].decode()
        asked.append(line)
        method, target, _ = line.split()
        host, _, port = target.removeprefix("http://").split("/")[0].rpartition(":")
        with socket.create_connection((host, int(port)), 20) as server:
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                server.sendall(head)
            back = threading.Thread(target=pass_on, args=(server, client))
            back.start()
            pass_on(client, server)
            back.join(20)

    def pass_on(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(2**16):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)

    with tcp_server(serve) as port:
        yield f"http://127.0.0.1:{port}", asked


def test_another_proxy_can_stand_behind_it(open_bottle, web, secure_web, upstream):
    url, asked = upstream
    bottle = open_bottle(
        f"egress = {{ upstream = '{url}', allow = ['{web.host}', '{secure_web.host}'] }}"
    )
    assert curl(bottle, f"{web.url}/plain").stdout == "hello from /plain"
    assert curl(bottle, f"{secure_web.url}/secure").stdout == "hello from /secure"
    assert status(bottle, "http://docs.example.org/") == 403
    assert asked == [
        f"GET http://{web.host}/plain HTTP/1.1",
        f"CONNECT {secure_web.host} HTTP/1.1",
    ]
    assert [request.status for request in bottle.egress.requests] == [200, 200, 403]


def test_so_it_can_behind_a_tunnel(open_bottle, secure_web, upstream):
    url, asked = upstream
    bottle = open_bottle(
        f"egress = {{ upstream = '{url}', dlp = false, allow = ['localhost:{secure_web.port}'] }}"
    )
    address = f"https://localhost:{secure_web.port}/x"
    assert curl(bottle, "-k", address).stdout == "hello from /x"
    assert asked == [f"CONNECT localhost:{secure_web.port} HTTP/1.1"]


@pytest.mark.parametrize("egress", ["allow = []", "dlp = false"])
def test_the_model_answers_in_place_of_the_real_api(open_bottle, egress):
    bottle = open_bottle(f"egress = {{ {egress} }}")
    bottle.model.script(say("hello there"))
    headers = ["-H", "x-api-key: placeholder", "-H", "anthropic-version: 2023-06-01"]
    answer = curl(bottle, *headers, *ASK, "https://api.anthropic.com/v1/messages").stdout
    assert json.loads(answer)["content"][0]["text"] == "hello there"
    assert len(bottle.model.requests) == 1
    (request,) = bottle.egress.requests
    assert (request.host, request.verdict, request.rule) == (
        "api.anthropic.com",
        "allowed",
        "model",
    )


def test_and_of_one_that_the_host_has_elsewhere(open_bottle, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "https://models.example.com/anthropic")
    bottle = open_bottle("egress.allow = []")
    bottle.model.script(say("hello there"))
    url = "https://models.example.com/anthropic/v1/messages"
    answer = curl(bottle, "-H", "Authorization: Bearer placeholder", *ASK, url).stdout
    assert json.loads(answer)["content"][0]["text"] == "hello there"


def test_without_a_model_the_api_is_a_host_as_any_other(open_bottle):
    bottle = open_bottle("egress.allow = []")
    assert status(bottle, *ASK, "https://api.anthropic.com/v1/messages") == 403
    (denied,) = bottle.egress.denied
    assert (denied.host, denied.rule) == ("api.anthropic.com", "no rule")


def test_the_models_port_on_the_host_is_no_way_in(open_bottle):
    """Only what is asked of the API's host gets to the model."""
    bottle = open_bottle("egress.allow = []")
    bottle.model.script(say("hello there"))
    curl(bottle, *ASK, "https://api.anthropic.com/v1/messages")
    assert status(bottle, "http://127.0.0.1:4180/") == 403
