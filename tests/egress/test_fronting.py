"""A bottle cannot say one host to its proxy and mean another."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from tests.egress.conftest import curl
from tests.egress.conftest import status
from tests.egress.servers import site

pytestmark = pytest.mark.bottle_requires("bubblewrap")


def test_the_host_of_a_plain_request_is_that_of_its_line(bottle_factory, web):
    bottle = bottle_factory(backend="bubblewrap", egress=[web.host])
    assert status(bottle, "-H", "Host: fronted.example.com", f"{web.url}/") == 200
    (seen,) = web.seen
    assert seen.headers["host"] == web.host


@pytest.mark.parametrize("host", ["fronted.example.com", "127.0.0.1", "127.0.0.1:1", "[::1]:443"])
def test_inside_of_a_connection_it_has_to_be_the_same(open_bottle, secure_web, host):
    bottle = open_bottle(f"egress.allow = ['{secure_web.host}', 'fronted.example.com']")
    assert status(bottle, "-H", f"Host: {host}", f"{secure_web.url}/") == 403
    assert secure_web.seen == []
    assert [request.rule for request in bottle.egress.denied] == ["host mismatch"]


@pytest.mark.parametrize("dlp", ["true", "false"])
def test_so_has_the_name_in_the_tls_handshake(open_bottle, secure_web, dlp):
    bottle = open_bottle(
        f"egress = {{ dlp = {dlp}, "
        f"allow = ['localhost:{secure_web.port}', 'fronted.example.com'] }}"
    )
    there = f"fronted.example.com:443:localhost:{secure_web.port}"
    shown = curl(bottle, "-k", "--connect-to", there, "https://fronted.example.com/", check=False)
    assert shown.returncode != 0
    assert secure_web.seen == []
    (denied,) = bottle.egress.denied
    assert denied.rule == "host mismatch"
    assert "TLS was begun with fronted.example.com on a connection to localhost" in denied.reason


def test_a_plain_request_inside_of_a_connection_is_judged_as_well(open_bottle, web):
    bottle = open_bottle(f"egress.allow = [{{ host = '{web.host}', paths = ['/public'] }}]")
    assert status(bottle, "-p", f"{web.url}/public/x") == 200
    assert status(bottle, "-p", f"{web.url}/private") == 403
    assert [seen.path for seen in web.seen] == ["/public/x"]


def test_what_is_no_http_does_not_pass_where_it_would_have_to_be_read(open_bottle, web):
    bottle = open_bottle(f"egress.allow = ['{web.host}']")
    code = f"""
import base64, os, socket
proxy = socket.create_connection(("127.0.0.1", 4181), 30)
login = base64.b64encode(("bottle:" + os.environ["BOTTLE_PASS"]).encode()).decode()
head = "CONNECT {web.host} HTTP/1.1\\r\\nProxy-Authorization: Basic " + login
proxy.sendall(head.encode() + b"\\r\\n\\r\\n")
print(proxy.recv(1000))
proxy.sendall(b"SSH-2.0-x\\r\\n\\r\\n")
print(proxy.recv(1000))
"""
    said = bottle.exec(["python3", "-c", code]).stdout.splitlines()
    assert "200 Connection established" in said[0]
    assert said[1].startswith("b'HTTP/1.1 400") or said[1] == "b''"
    assert web.seen == []


@pytest.mark.parametrize(
    "spelling", ["127.1", "2130706433", "0x7f.0.0.1", "017700000001", "[::ffff:127.0.0.1]"]
)
def test_an_address_is_the_same_however_it_is_written(bottle_factory, web, spelling):
    bottle = bottle_factory(backend="bubblewrap", egress=["*.example.org"])
    code = f"""
import base64, os, socket
proxy = socket.create_connection(("127.0.0.1", 4181), 30)
login = base64.b64encode(("bottle:" + os.environ["BOTTLE_PASS"]).encode()).decode()
proxy.sendall(
    b"GET http://{spelling}:{web.port}/ HTTP/1.1\\r\\nHost: x\\r\\n"
    b"Proxy-Authorization: Basic %s\\r\\n\\r\\n" % login.encode()
)
print(proxy.recv(1000))
"""
    assert "403" in bottle.exec(["python3", "-c", code]).check().stdout
    (denied,) = bottle.egress.denied
    assert (denied.host, denied.rule) == ("127.0.0.1", "ip literal")


def test_localhost_is_this_host_where_a_rule_says_so(bottle_factory, web):
    with site() as other:
        bottle = bottle_factory(backend="bubblewrap", egress=[f"localhost:{web.port}"])
        assert status(bottle, f"http://localhost:{web.port}/") == 200
        assert status(bottle, f"http://127.0.0.1:{web.port}/") == 403
        assert status(bottle, f"http://localhost:{other.port}/") == 403
        assert other.seen == []


def test_a_name_that_leads_to_this_host_is_no_way_to_it(open_bottle, web):
    """This host's own name stands for one whose zone somebody points here."""
    name = socket.gethostname()
    try:
        addresses = {str(one[4][0]) for one in socket.getaddrinfo(name, web.port)}
    except OSError:
        pytest.skip(f"the name {name} has no address")
    if any(ipaddress.ip_address(address).is_global for address in addresses):
        pytest.skip(f"the name {name} leads to the internet")
    bottle = open_bottle(f"egress.allow = ['{name}:{web.port}']")
    assert status(bottle, f"http://{name}:{web.port}/") == 403
    (denied,) = bottle.egress.denied
    assert denied.rule == "private address"
    assert "which is not an address of the internet; allow " in denied.reason
    assert web.seen == []
    for address in addresses:
        bottle.egress.allow(
            f"[{address}]:{web.port}" if ":" in address else f"{address}:{web.port}"
        )
    assert status(bottle, f"http://{name}:{web.port}/") in {200, 502}
