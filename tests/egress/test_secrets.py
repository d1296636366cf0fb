"""Secrets do not leave a bottle through its proxy, and credentials never enter it."""

from __future__ import annotations

import base64
import gzip

import pytest

from tests.egress.conftest import curl
from tests.egress.conftest import status

pytestmark = pytest.mark.bottle_requires("bubblewrap")

TOKEN = "real-token-of-the-host-4711"


def test_a_secret_is_refused_wherever_a_request_has_it(bottle_factory, web):
    bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
    canary = bottle.egress.canary
    encoded = base64.b64encode(canary.encode()).decode()
    for asked in (
        [f"{web.url}/{canary}"],
        [f"{web.url}/?x={encoded}"],
        ["-H", f"X-Note: {canary}", web.url],
        ["-A", encoded, web.url],
        ["-d", f"text={canary}", web.url],
        ["-d", canary.encode().hex(), web.url],
        ["-u", f"me:{canary}", web.url],
        [f"http://{canary}.example.com/"],
        [f"https://{canary}.example.com/"],
    ):
        assert status(bottle, *asked) == 403, asked
    assert web.seen == []
    denied = bottle.egress.denied
    assert len(denied) == 9
    assert {request.rule for request in denied[:-2]} == {"dlp: canary"}
    assert canary not in "".join(map(str, denied[:-2]))
    assert denied[-1].rule == "dlp: canary"


def test_a_compressed_body_is_looked_into(bottle_factory, web):
    bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
    bottle.write_file("body.gz", gzip.compress(b"x" * 100_000 + bottle.egress.canary.encode()))
    sent = ["--data-binary", "@body.gz", "-H", "Content-Encoding: gzip", web.url]
    assert status(bottle, *sent) == 403
    assert web.seen == []


def test_pieces_of_a_secret_in_several_requests_are_put_together(bottle_factory, web):
    bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
    canary = bottle.egress.canary
    assert status(bottle, "-d", canary[:10], web.url) == 200
    assert status(bottle, "-d", canary[10:20], web.url) == 200
    assert status(bottle, "-d", canary[20:], web.url) == 403


def test_a_large_body_is_cut_at_the_secret(bottle_factory, web):
    bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
    canary = bottle.egress.canary
    bottle.sh(
        f"(yes 0123456 | head -c 12000000; echo {canary}; yes 1 | head -c 900000) >body"
    ).check()
    result = curl(bottle, "-T", "body", web.url, check=False)
    assert result.returncode != 0
    assert all(canary.encode() not in seen.body for seen in web.seen)
    (denied,) = bottle.egress.denied
    assert denied.rule == "dlp: canary"


def test_the_bottles_own_pass_does_not_leave_it(bottle_factory, web):
    bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
    script = f"curl -sS --noproxy '' -w '%{{http_code}}' -o /dev/null -d $BOTTLE_PASS {web.url}"
    assert bottle.sh(script).stdout == "403"
    assert [request.rule for request in bottle.egress.denied] == ["dlp: secret the bottle's pass"]


def test_without_dlp_nothing_is_searched(open_bottle, web):
    bottle = open_bottle(f"egress = {{ dlp = false, allow = ['{web.host}'] }}")
    assert status(bottle, "-d", bottle.egress.canary, web.url) == 200


def test_in_mode_log_a_secret_is_told_of_and_passes(open_bottle, web):
    bottle = open_bottle(f"egress = {{ mode = 'log', allow = ['{web.host}'] }}")
    assert status(bottle, "-d", bottle.egress.canary, web.url) == 200
    (request,) = bottle.egress.requests
    assert (request.verdict, request.rule) == ("logged", "dlp: canary")


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ("scheme = 'bearer'", "authorization", f"Bearer {TOKEN}"),
        (
            "scheme = 'basic', username = 'me'",
            "authorization",
            "Basic " + base64.b64encode(f"me:{TOKEN}".encode()).decode(),
        ),
        ("scheme = 'header', header = 'X-Token'", "x-token", TOKEN),
    ],
)
def test_a_route_puts_on_a_credential_that_the_bottle_never_has(
    open_bottle, secure_web, monkeypatch, tmp_path, auth, header, value
):
    monkeypatch.setenv("REAL_TOKEN", TOKEN)
    bottle = open_bottle(
        f"[[bottles.box.egress.routes]]\nhost = '{secure_web.host}'\npaths = ['/v1']\n"
        f"auth = {{ token_ref = 'REAL_TOKEN', {auth} }}"
    )
    assert status(bottle, "-H", f"{header}: placeholder", f"{secure_web.url}/v1/x") == 200
    assert status(bottle, f"{secure_web.url}/v2") == 403
    (seen,) = secure_web.seen
    assert seen.headers[header] == value
    assert TOKEN not in bottle.sh("env; cat ~/.bottle/* 2>/dev/null").stdout
    assert TOKEN not in "".join(map(repr, bottle.egress.requests))
    written = [path.read_text() for path in (tmp_path / "evidence").glob("*.egress.jsonl")]
    assert TOKEN not in "".join(written)


def test_a_credential_that_a_server_echoes_is_no_way_out(open_bottle, web, monkeypatch):
    """The bottle learns it only from those who have it; to others it does not get."""
    monkeypatch.setenv("REAL_TOKEN", TOKEN)
    bottle = open_bottle(
        f"[bottles.box.egress]\nallow = ['localhost:{web.port}']\n"
        f"[[bottles.box.egress.routes]]\nhost = '{web.host}'\n"
        "auth = { token_ref = 'REAL_TOKEN' }"
    )
    assert status(bottle, "-d", TOKEN, f"http://localhost:{web.port}/") == 403
