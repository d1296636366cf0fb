"""What a bottle's requests meet on their way out, and what its test reads of them."""

from __future__ import annotations

import json

import pytest

from pytest_bottle.errors import AuthorError
from tests.egress.conftest import curl
from tests.egress.conftest import eventually
from tests.egress.conftest import status
from tests.egress.servers import site

pytestmark = pytest.mark.bottle_requires("bubblewrap")


def test_an_allowed_host_answers_and_the_record_tells_of_it(bottle_factory, web):
    bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
    assert curl(bottle, f"{web.url}/greeting?name=me").stdout == "hello from /greeting"
    (request,) = bottle.egress.requests
    assert (request.method, request.scheme, request.host, request.port) == (
        *("GET", "http", "127.0.0.1"),
        web.port,
    )
    assert (request.path, request.verdict, request.rule) == (
        *("/greeting?[query]", "allowed"),
        web.host,
    )
    assert (request.status, request.received, request.protocol) == (200, 20, "http/1.1")
    assert bottle.egress.denied == []
    (seen,) = web.seen
    assert (seen.path, seen.headers["host"]) == ("/greeting?name=me", web.host)
    assert "proxy-authorization" not in seen.headers


def test_any_other_host_is_refused_before_anybody_is_asked(bottle_factory, web):
    with site() as other:
        bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
        answer = json.loads(curl(bottle, f"{other.url}/").stdout)["error"]
        assert other.seen == []
    assert answer["rule"] == "ip literal"
    assert f'add "{other.host}" to `egress.allow`' in answer["message"]
    (denied,) = bottle.egress.denied
    assert (denied.host, denied.port, denied.status) == ("127.0.0.1", other.port, 403)
    assert str(denied) == (
        f"denied 403 GET http://{other.host}/ (ip literal): "
        f"no rule names the address 127.0.0.1, port {other.port}"
    )


def test_a_name_that_is_not_allowed_is_not_even_looked_up(bottle_factory):
    bottle = bottle_factory(backend="bubblewrap", egress=[])
    assert status(bottle, "https://secrets.example.com/") == 403
    (denied,) = bottle.egress.denied
    assert (denied.method, denied.host, denied.rule) == (
        "CONNECT",
        "secrets.example.com",
        "no rule",
    )


def test_the_proxy_speaks_tls_for_those_that_it_looks_into(open_bottle, secure_web):
    bottle = open_bottle(f"egress.allow = ['{secure_web.host}']")
    assert curl(bottle, f"{secure_web.url}/secret").stdout == "hello from /secret"
    (request,) = bottle.egress.requests
    assert (request.method, request.scheme, request.path) == ("GET", "https", "/secret")
    issuer = curl(bottle, "-v", f"{secure_web.url}/", check=True).stderr
    assert "issuer: CN=pytest-bottle, one run" in issuer


def test_the_bottle_trusts_the_proxys_certificates_with_pythons_own_client(open_bottle, secure_web):
    bottle = open_bottle(f"egress.allow = ['localhost:{secure_web.port}']\nenv.no_proxy = ''\n")
    code = f"""
import urllib.request
print(urllib.request.urlopen("https://localhost:{secure_web.port}/it").read().decode())
"""
    assert bottle.exec(["env", "NO_PROXY=", "no_proxy=", "python3", "-c", code]).check().stdout == (
        "hello from /it\n"
    )


def test_without_dlp_a_host_that_is_allowed_as_a_whole_is_tunnelled(open_bottle, secure_web):
    bottle = open_bottle(f"egress = {{ allow = ['localhost:{secure_web.port}'], dlp = false }}")
    trusting = ("--cacert", "/dev/null", "-k")
    seen = curl(bottle, "-v", *trusting, f"https://localhost:{secure_web.port}/it")
    assert seen.stdout == "hello from /it"
    assert "issuer: CN=localhost" in seen.stderr
    (request,) = bottle.egress.requests
    assert (request.method, request.verdict) == ("CONNECT", "allowed")


def test_a_rule_for_methods_and_paths_is_held_to_inside_of_tls(open_bottle, secure_web):
    bottle = open_bottle(
        f"egress = {{ dlp = false, allow = [{{ host = '{secure_web.host}', "
        "methods = ['GET'], paths = ['/docs'] }] }"
    )
    assert status(bottle, f"{secure_web.url}/docs/intro") == 200
    assert status(bottle, f"{secure_web.url}/docs") == 200
    for asked in (
        ("-X", "POST", f"{secure_web.url}/docs/intro"),
        (f"{secure_web.url}/docsearch",),
        ("--path-as-is", f"{secure_web.url}/docs/../admin"),
        (f"{secure_web.url}/docs/%2e%2e/admin",),
        (f"{secure_web.url}/docs/%252e%252e/admin",),
    ):
        assert status(bottle, *asked) == 403, asked
    assert [seen.path for seen in secure_web.seen] == ["/docs/intro", "/docs"]
    assert {request.rule for request in bottle.egress.denied} == {"no rule"}


def test_each_hop_of_a_redirect_is_a_request_of_its_own(bottle_factory, web):
    with site() as other:
        bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
        assert status(bottle, "-L", f"{web.url}/moved?to={other.url}/there") == 403
        assert other.seen == []
    assert [request.verdict for request in bottle.egress.requests] == ["allowed", "denied"]


def test_a_test_can_allow_more_at_once(bottle_factory, web):
    bottle = bottle_factory(backend="bubblewrap", egress=[])
    assert status(bottle, f"{web.url}/") == 403
    bottle.egress.allow(web.host, methods=["get"], paths=["/public"])
    assert status(bottle, f"{web.url}/public/page") == 200
    assert status(bottle, f"{web.url}/private") == 403
    assert [request.rule for request in bottle.egress.allowed] == [f"GET {web.host}/public"]


def test_in_mode_log_all_passes_and_what_would_be_denied_is_told(open_bottle, web):
    bottle = open_bottle(
        f"egress = {{ mode = 'log', allow = [{{ host = '{web.host}', methods = ['GET'] }}] }}"
    )
    assert status(bottle, "-d", "x=1", f"{web.url}/") == 200
    assert status(bottle, f"{web.url}/") == 200
    assert [request.verdict for request in bottle.egress.requests] == ["logged", "allowed"]
    assert bottle.egress.denied == []


def test_mode_log_opens_the_internet_and_not_this_host(open_bottle, web):
    bottle = open_bottle("egress.mode = 'log'")
    for host in ("127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "169.254.169.254"):
        assert status(bottle, f"http://{host}:{web.port}/") == 403, host
    assert status(bottle, f"http://localhost:{web.port}/") == 403
    assert web.seen == []
    assert {request.verdict for request in bottle.egress.requests} == {"denied"}


def test_two_bottles_are_told_apart(bottle_factory, web):
    one = bottle_factory(backend="bubblewrap", egress=[web.host])
    other = bottle_factory(backend="bubblewrap", egress=[])
    assert (status(one, web.url), status(other, web.url)) == (200, 403)
    assert (len(one.egress.allowed), len(one.egress.denied)) == (1, 0)
    assert (len(other.egress.allowed), len(other.egress.denied)) == (0, 1)
    # The pass of one is of no use at the door of another.
    token = one.sh('printf %s "$BOTTLE_PASS"').stdout
    proxy = f"http://bottle:{token}@127.0.0.1:4181"
    assert status(other, "-x", proxy, web.url) == 407
    assert [request.rule for request in other.egress.denied] == ["ip literal", "pass"]


def test_nobody_is_served_without_the_bottles_pass(bottle_factory, web):
    bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
    assert status(bottle, "-x", "http://127.0.0.1:4181", web.url) == 407
    assert status(bottle, "-p", "-x", "http://127.0.0.1:4181", web.url) == 407
    assert [request.rule for request in bottle.egress.denied] == ["pass", "pass"]
    assert web.seen == []


def test_a_client_that_shows_its_pass_when_it_is_asked_for_is_not_held_to_account(
    bottle_factory, web
):
    """As git does, by way of libcurl."""
    bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
    assert status(bottle, "--proxy-anyauth", f"{web.url}/repository") == 200
    assert bottle.egress.denied == []


def test_the_records_of_a_run_are_in_its_artifacts(open_bottle, web, tmp_path):
    bottle = open_bottle(f"egress.allow = ['{web.host}']")
    curl(bottle, web.url)
    (path,) = (tmp_path / "evidence").glob("*.egress.jsonl")
    assert eventually(lambda: path.read_text().count("\n") == 1)
    assert json.loads(path.read_text())["verdict"] == "allowed"


def test_a_bottle_without_a_proxy_says_so(bottle_factory):
    bottle = bottle_factory(backend="bubblewrap")
    assert (bottle.egress.requests, bottle.egress.denied) == ([], [])
    with pytest.raises(AuthorError, match=r"the bottle has no proxy\. Give it one"):
        bottle.egress.allow("docs.python.org")


def test_tcp_without_the_proxy_reaches_nothing(bottle_factory, web):
    bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
    code = f"import socket; socket.create_connection(('127.0.0.1', {web.port}), 5)"
    assert "Connection refused" in bottle.exec(["python3", "-c", code]).stderr
