"""A request is one request, and ends where its verdict ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_bottle.gateway.egress.environment import environment_directory
from tests.egress.conftest import curl
from tests.egress.servers import tcp_server

if TYPE_CHECKING:
    import socket

    from pytest_bottle.backends.base import ExecResult
    from pytest_bottle.bottle import Bottle

pytestmark = pytest.mark.bottle_requires("bubblewrap")

TRAILING = """
import base64, http.client, os, socket, sys
host, trailer = sys.argv[1:]
proxy = socket.create_connection(("127.0.0.1", 4181), 30)
login = base64.b64encode(("bottle:" + os.environ["BOTTLE_PASS"]).encode()).decode()
for number in range(2):
    proxy.sendall(
        f"POST http://{host}/{number} HTTP/1.1\\r\\nHost: {host}\\r\\n"
        f"Proxy-Authorization: Basic {login}\\r\\nTrailer: x-note\\r\\n"
        "Transfer-Encoding: chunked\\r\\n\\r\\n4\\r\\nbody\\r\\n"
        f"0\\r\\nX-Note: {trailer}\\r\\n\\r\\n".encode()
    )
    answer = http.client.HTTPResponse(proxy)
    answer.begin()
    print(answer.status, answer.read().decode())
"""
"""Sends two requests over one connection, each with a trailer."""

OVER_HTTP_2 = """
import base64, os, socket, ssl, sys
sys.path.insert(0, os.path.expanduser("~/packages"))
import h2.connection, h2.events
host, size, *trailers = sys.argv[1:]
body = sys.stdin.buffer.read().ljust(int(size))
name, _, port = host.partition(":")
proxy = socket.create_connection(("127.0.0.1", 4181), 60)
login = base64.b64encode(("bottle:" + os.environ["BOTTLE_PASS"]).encode()).decode()
proxy.sendall(
    f"CONNECT {host} HTTP/1.1\\r\\nHost: {host}\\r\\n"
    f"Proxy-Authorization: Basic {login}\\r\\n\\r\\n".encode()
)
assert b" 200 " in proxy.recv(10000)
context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
context.set_alpn_protocols(["h2"])
secure = context.wrap_socket(proxy, server_hostname=name)
assert secure.selected_alpn_protocol() == "h2"
http = h2.connection.H2Connection()
http.initiate_connection()
fields = {":method": "POST", ":scheme": "https", ":authority": host, ":path": "/first"}
http.send_headers(1, list(fields.items()))
ended, heard = False, b""
while not ended:
    while body and (room := min(http.local_flow_control_window(1), http.max_outbound_frame_size)):
        http.send_data(1, body[:room])
        body = body[room:]
    if not body and body is not None:
        if trailers:
            http.send_headers(1, [("x-note", trailers[0])], end_stream=True)
        else:
            http.end_stream(1)
        body = None
    secure.sendall(http.data_to_send())
    data = secure.recv(10000)
    assert data
    for event in http.receive_data(data):
        if isinstance(event, h2.events.ResponseReceived):
            print(dict(event.headers)[b":status"].decode())
        if isinstance(event, h2.events.DataReceived):
            heard += event.data
        ended = ended or isinstance(event, h2.events.StreamEnded)
print(heard.decode())
"""
"""Sends what it reads, padded to a size, as the body of a request that does not say its length."""


def send_over_http_2(
    bottle: Bottle, host: str, body: str, *trailers: str, size: int = 0
) -> ExecResult:
    """Send a body from a bottle, with packages that the proxy has as well."""
    (site_packages,) = environment_directory().glob("lib/python*/site-packages")
    for package in ("h2", "hpack", "hyperframe"):
        bottle.copy_in(site_packages / package, f"{bottle.sandbox.guest.home}/packages/{package}")
    command = ["python3", "-c", OVER_HTTP_2, host, str(size), *trailers]
    return bottle.exec(command, input=body, timeout=120).check()


@pytest.mark.parametrize("size", [0, 9 * 2**20], ids=["held", "streamed"])
def test_a_body_is_never_taken_for_another_request(bottle_factory, secure_web, size):
    """Of a length that HTTP/2 does not tell, for a server that speaks HTTP/1."""
    bottle = bottle_factory(backend="bubblewrap", egress=[secure_web.host])
    smuggled = f"DELETE /second HTTP/1.1\r\nHost: {secure_web.host}\r\n\r\n"
    said = send_over_http_2(bottle, secure_web.host, smuggled, size=size)
    assert said.stdout == "200\nhello from /first\n"
    assert [(one.method, one.path) for one in secure_web.seen] == [("POST", "/first")]
    assert secure_web.seen[0].body.decode() == smuggled.ljust(size)
    (request,) = bottle.egress.allowed
    assert (request.status, request.sent) == (200, max(size, len(smuggled)))


AMBIGUOUS = """
import base64, os, socket, sys
host, fields = sys.argv[1:]
hidden = f"GET /hidden HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n"
body = f"0\\r\\n\\r\\n{hidden}"
login = base64.b64encode(("bottle:" + os.environ["BOTTLE_PASS"]).encode()).decode()
proxy = socket.create_connection(("127.0.0.1", 4181), 30)
fields = fields.format(whole=len(body))
proxy.sendall(
    f"POST http://{host}/seen HTTP/1.1\\r\\nHost: {host}\\r\\n"
    f"Proxy-Authorization: Basic {login}\\r\\n{fields}\\r\\n\\r\\n{body}".encode()
)
proxy.settimeout(2)
try:
    while proxy.recv(10000):
        pass
except TimeoutError:
    pass
"""
"""Sends a request of which one may think that it ends before `GET /hidden`, or after it."""


@pytest.mark.parametrize(
    "fields",
    [
        "Content-Length: {whole}\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: {whole}",
        "Content-Length: {whole}\r\nTransfer-Encoding: xchunked",
        "Content-Length: {whole}\r\nTransfer-Encoding: chunked, identity",
        "Content-Length: {whole}\r\nTransfer-Encoding : chunked",
        "Content-Length: {whole}\r\nTransfer-Encoding:\x0bchunked",
        "Content-Length: {whole}\r\nX: y\nTransfer-Encoding: chunked",
        "Content-Length: {whole}\r\nX: y\r\n Transfer-Encoding: chunked",
        "Content-Length: 5\r\nContent-Length: {whole}",
        "Content-Length: {whole}\r\nContent-Length: 5",
        "Content-Length: 5, {whole}",
        "Content-Length: +{whole}",
        "Content-Length: 0_5",
    ],
    ids=repr,
)
def test_no_request_hides_behind_an_ambiguous_one(bottle_factory, web, fields):
    """What the server saw has been judged, request by request; what has no pass is refused."""
    bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
    bottle.exec(["python3", "-c", AMBIGUOUS, web.host, fields]).check()
    assert [one.path for one in web.seen] in ([], ["/seen"])
    assert "/hidden" not in [one.path for one in bottle.egress.allowed]


def test_trailers_of_a_request_do_not_pass(bottle_factory, web):
    """They come after its verdict; it goes on without them."""
    bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
    said = bottle.exec(["python3", "-c", TRAILING, web.host, bottle.egress.canary]).check()
    assert said.stdout.splitlines() == ["200 hello from /0", "200 hello from /1"]
    assert [(one.path, one.body) for one in web.seen] == [("/0", b"body"), ("/1", b"body")]
    assert bottle.egress.canary not in str(web.seen)
    assert [one.status for one in bottle.egress.allowed] == [200, 200]


def test_nor_do_those_of_http_2(bottle_factory, secure_web):
    bottle = bottle_factory(backend="bubblewrap", egress=[secure_web.host])
    said = send_over_http_2(bottle, secure_web.host, "body", bottle.egress.canary)
    assert said.stdout == "200\nhello from /first\n"
    assert [(one.path, one.body) for one in secure_web.seen] == [("/first", b"body")]
    assert bottle.egress.canary not in str(secure_web.seen)
    assert [one.status for one in bottle.egress.allowed] == [200]


def test_nor_do_those_of_a_response(bottle_factory):
    def serve(client: socket.socket) -> None:
        client.recv(10_000)
        client.sendall(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"4\r\nbody\r\n0\r\nX-Note: trailer\r\n\r\n"
        )

    with tcp_server(serve) as port:
        bottle = bottle_factory(backend="bubblewrap", egress=[f"127.0.0.1:{port}"])
        answer = curl(bottle, "-i", f"http://127.0.0.1:{port}/").stdout
    assert answer.endswith("body")
    assert "X-Note" not in answer
    assert [one.received for one in bottle.egress.allowed] == [4]
