"""What passes through a bottle's proxy passes as it comes, and whole."""

from __future__ import annotations

import pytest

from tests.egress.conftest import curl
from tests.egress.conftest import eventually
from tests.egress.conftest import status

pytestmark = pytest.mark.bottle_requires("bubblewrap")

TALK = """
import base64, os, socket, sys
host, port, *words = sys.argv[1:]
proxy = socket.create_connection(("127.0.0.1", 4181), 30)
login = base64.b64encode(("bottle:" + os.environ["BOTTLE_PASS"]).encode()).decode()
target = f"{host}:{port}"
proxy.sendall(
    f"GET http://{target}/talk HTTP/1.1\\r\\nHost: {target}\\r\\nUpgrade: websocket\\r\\n"
    "Connection: Upgrade\\r\\nSec-WebSocket-Version: 13\\r\\n"
    f"Proxy-Authorization: Basic {login}\\r\\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n".encode()
)
stream = proxy.makefile("rb")
print(stream.readline().decode().strip())
while stream.readline().strip():
    pass
for word in words:
    data = word.encode()
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
    proxy.sendall(bytes([0x81, 0x80 | len(data)]) + mask + masked)
    head = stream.read(2)
    if len(head) < 2:
        print("hung up")
        break
    print(stream.read(head[1]).decode())
"""
"""Says words over a websocket, and prints what it hears."""


def test_an_event_is_there_before_the_next_one_is_sent(bottle_factory, web):
    bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
    bottle.sh(f"curl -sSN --noproxy '' {web.url}/events >heard 2>&1 & echo started").check()
    assert eventually(lambda: bottle.sh("cat heard").stdout == "data: first\n\n")
    web.go_on.set()
    assert eventually(lambda: bottle.sh("cat heard").stdout == "data: first\n\ndata: second\n\n")
    assert eventually(lambda: len(bottle.egress.allowed) == 1)


def test_a_websocket_talks(bottle_factory, web):
    bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
    heard = bottle.exec(["python3", "-c", TALK, "127.0.0.1", str(web.port), "one", "two"]).check()
    assert heard.stdout.split("\n")[:3] == [
        "HTTP/1.1 101 Switching Protocols",
        "heard one",
        "heard two",
    ]
    assert web.said == ["one", "two"]
    (request,) = bottle.egress.requests
    assert (request.status, request.protocol) == (101, "websocket")


def test_a_secret_in_a_websocket_cuts_it(bottle_factory, web):
    bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
    words = ["one", bottle.egress.canary, "three"]
    heard = bottle.exec(["python3", "-c", TALK, "127.0.0.1", str(web.port), *words])
    assert "heard one" in heard.stdout
    assert web.said == ["one"]
    (denied,) = bottle.egress.denied
    assert (denied.protocol, denied.host, denied.rule) == ("websocket", "127.0.0.1", "dlp: canary")


@pytest.mark.parametrize("size", [0, 1, 3 * 2**20])
def test_a_response_of_any_size_is_whole(bottle_factory, web, size):
    bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
    assert bottle.sh(
        f"curl -sS --noproxy '' '{web.url}/large?size={size}' | wc -c"
    ).stdout.strip() == str(size)
    (request,) = bottle.egress.requests
    assert (request.status, request.received) == (200, size)


def test_a_response_in_chunks_is_one_too(bottle_factory, web):
    bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
    expected = "".join(f"chunk {number}\n" for number in range(5))
    assert curl(bottle, f"{web.url}/chunks").stdout == expected
    assert [request.received for request in bottle.egress.requests] == [len(expected)]


@pytest.mark.parametrize("form", ["with its length", "in chunks"])
@pytest.mark.parametrize("size", [10_000, 12 * 2**20])
def test_a_request_of_any_size_is_whole(open_bottle, secure_web, size, form):
    """Below the bound it is held back until it has been searched, above it goes out in pieces."""
    bottle = open_bottle(f"egress.allow = ['{secure_web.host}']")
    bottle.sh(f"yes 0123456 | head -c {size} >body").check()
    more = ["--http1.1", "-H", "Transfer-Encoding: chunked"] if form == "in chunks" else []
    assert status(bottle, *more, "-T", "body", f"{secure_web.url}/up") == 200
    (seen,) = secure_web.seen
    assert len(seen.body) == size
    assert seen.body == (b"0123456\n" * (size // 8 + 1))[:size]
    (request,) = bottle.egress.requests
    assert (request.method, request.sent) == ("PUT", size)


def test_a_large_request_that_is_denied_is_answered_before_all_of_it_has_come(bottle_factory, web):
    bottle = bottle_factory(backend="bubblewrap", egress=[])
    bottle.sh("head -c 30000000 /dev/zero >body").check()
    assert status(bottle, "-T", "body", web.url) == 403
    assert [request.rule for request in bottle.egress.denied][-1] == "ip literal"


def test_http_2_is_spoken_with_a_bottle(open_bottle, secure_web):
    bottle = open_bottle(f"egress.allow = ['{secure_web.host}']")
    urls = [f"{secure_web.url}/{number}" for number in range(20)]
    result = curl(bottle, "--http2", "-Z", *urls, "-w", "%{http_version} ")
    assert result.stdout.count("hello from") == 20
    assert {request.protocol for request in bottle.egress.requests} == {"http/2.0"}
    assert len(bottle.egress.allowed) == 20
