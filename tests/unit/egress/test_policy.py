"""What a bottle's rules let pass, whatever way a request spells it."""

from __future__ import annotations

import ipaddress

import pytest

from pytest_bottle.door_plan import AllowPlan
from pytest_bottle.door_plan import CredentialPlan
from pytest_bottle.door_plan import RoutePlan
from pytest_bottle.gateway.egress.hosts import address_of
from pytest_bottle.gateway.egress.hosts import canonical_host
from pytest_bottle.gateway.egress.hosts import is_public
from pytest_bottle.gateway.egress.policy import Policy
from pytest_bottle.gateway.egress.policy import is_below


def allow(host: str, port: int | None = None, methods=(), paths=()) -> AllowPlan:
    return AllowPlan(host=host, port=port, methods=tuple(methods), paths=tuple(paths))


class TestHosts:
    @pytest.mark.parametrize(
        ("spelling", "host"),
        [
            ("docs.python.org", "docs.python.org"),
            ("Docs.PYTHON.org", "docs.python.org"),
            ("docs.python.org.", "docs.python.org"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("ｄｏｃｓ.example", "docs.example"),  # noqa: RUF001
            ("docs。example", "docs.example"),
            ("_srv.example", "_srv.example"),
            ("3com.example", "3com.example"),
            ("0x7f.example", "0x7f.example"),
        ],
    )
    def test_a_name_has_one_form(self, spelling, host):
        assert canonical_host(spelling) == host

    @pytest.mark.parametrize(
        "spelling",
        [
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0X7F.0.0.1",
            "0x7f.1",
            "0177.0.0.1",
            "0177.0x0.0.01",
            "017700000001",
            "[::ffff:127.0.0.1]",
            "::ffff:7f00:1",
            "[0:0:0:0:0:ffff:127.0.0.1]",
            "１２７.０.０.１",  # noqa: RUF001
            "①②⑦.0.0.1",
            "127。0。0。1",
        ],
    )
    def test_so_has_an_address_however_it_is_written(self, spelling):
        assert canonical_host(spelling) == "127.0.0.1"

    @pytest.mark.parametrize(
        "spelling",
        [
            "",
            ".",
            "..",
            "a..b",
            ".example.org",
            "256.0.0.1",
            "1.2.3.4.5",
            "08.0.0.1",
            "4294967296",
            "127.0.0.1.example.1",
            "0x",
            "1.0x1ffffff",
            "exa mple.org",
            "example.org/path",
            "example.org@127.0.0.1",
            "user@example.org",
            "example.org\\@evil.org",
            "example.org%2eevil.org",
            "example.org%00.evil.org",
            "example.org\0",
            "example.org\t.evil",
            "-example.org",
            "example-.org",
            "[::1",
            "[::1%eth0]",
            "fe80::1%25eth0",
            "[v1.x]",
            "a" * 64 + ".org",
            ".".join(["a" * 60] * 5),
            "*.example.org",
            "example.org:80",
        ],
    )
    def test_what_programs_read_differently_is_none(self, spelling):
        if spelling == "0x":  # A C library takes it for 0.
            assert canonical_host(spelling) == "0.0.0.0"
            return
        with pytest.raises(ValueError, match=r"."):
            canonical_host(spelling)

    @pytest.mark.parametrize(
        "address",
        [
            *("127.0.0.1", "127.255.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1"),
            *("169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255"),
            *("::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1"),
            *("::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1"),
        ],
    )
    def test_an_address_of_this_host_or_beside_it_is_not_public(self, address):
        assert not is_public(ipaddress.ip_address(address))

    @pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "64:ff9b::101:101"])
    def test_those_of_the_internet_are(self, address):
        assert is_public(ipaddress.ip_address(address))


class TestConnecting:
    def test_a_rule_without_a_port_is_for_those_of_the_web(self):
        policy = Policy([allow("docs.python.org")])
        assert [
            policy.connect("docs.python.org", port).allowed for port in (80, 443, 8080, 22)
        ] == [*(True, True, False, False)]

    def test_a_rule_with_a_port_is_for_that_one(self):
        policy = Policy([allow("pypi.org", 8443)])
        assert policy.connect("pypi.org", 8443).rule == "pypi.org:8443"
        assert not policy.connect("pypi.org", 443).allowed

    def test_a_pattern_is_for_what_is_below_a_name_and_not_for_that(self):
        policy = Policy([allow("*.example.org")])
        assert policy.connect("a.example.org", 443).rule == "*.example.org"
        assert policy.connect("b.a.example.org", 443).allowed
        for host in ("example.org", "aexample.org", "example.org.evil.com", "evil.com"):
            assert policy.connect(host, 443).rule == "no rule"

    def test_no_pattern_is_for_an_address(self):
        policy = Policy([allow("*.0.0.1"), allow("*.example.org")])
        verdict = policy.connect("127.0.0.1", 80)
        assert (verdict.allowed, verdict.rule) == (False, "ip literal")

    @pytest.mark.parametrize("rule", ["127.0.0.1", "2130706433"])
    def test_an_address_takes_a_rule_that_names_it(self, rule):
        policy = Policy([allow(rule, 8080)])
        assert policy.connect("127.0.0.1", 8080).allowed
        assert not policy.connect("127.0.0.1", 80).allowed
        assert not policy.connect("127.0.0.2", 8080).allowed

    def test_so_does_the_address_of_a_clouds_metadata(self):
        everything = Policy([allow("*.org"), allow("*.internal"), allow("*.254")])
        assert everything.connect("169.254.169.254", 80).rule == "ip literal"
        assert Policy([allow("169.254.169.254")]).connect("169.254.169.254", 80).allowed


class TestAddresses:
    """Of names that are allowed: whoever has a zone can point it anywhere."""

    @pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "::"])
    def test_a_name_does_not_lead_to_this_host_or_beside_it(self, address):
        policy = Policy([allow("rebind.example.org")])
        reason = policy.address("rebind.example.org", 80, ipaddress.ip_address(address))
        assert f"rebind.example.org is at {address}, which is not an address of the inter" in reason

    def test_unless_a_rule_names_the_address_too(self):
        policy = Policy([allow("git.corp.example"), allow("10.0.0.7", 443)])
        address = ipaddress.ip_address("10.0.0.7")
        assert policy.address("git.corp.example", 443, address) == ""
        assert policy.address("git.corp.example", 80, address) != ""

    def test_localhost_leads_to_this_host_where_a_rule_names_it(self):
        policy = Policy([allow("localhost", 8080)])
        assert policy.address("localhost", 8080, ipaddress.ip_address("::1")) == ""
        assert policy.address("localhost", 8080, ipaddress.ip_address("10.0.0.1")) != ""
        assert policy.address("localhost", 9090, ipaddress.ip_address("::1")) != ""

    def test_the_internet_is_where_names_lead(self):
        policy = Policy([allow("docs.python.org")])
        assert policy.address("docs.python.org", 443, ipaddress.ip_address("151.101.0.223")) == ""


class TestRequests:
    def test_methods_and_paths_have_to_fit_both(self):
        policy = Policy([allow("api.example.org", None, ["GET"], ["/repos/acme"])])
        ask = policy.request
        assert ask("GET", "api.example.org", 443, "/repos/acme/x?y=1").allowed
        assert not ask("POST", "api.example.org", 443, "/repos/acme/x").allowed
        denied = ask("GET", "api.example.org", 443, "/repos/acmeco")
        assert (denied.allowed, denied.rule) == (False, "no rule")
        assert "GET api.example.org/repos/acme" in denied.reason

    def test_of_several_rules_one_is_enough(self):
        policy = Policy(
            [allow("x.example.org", None, ["GET"]), allow("x.example.org", None, [], ["/upload"])]
        )
        assert policy.request("PUT", "x.example.org", 443, "/upload/1").rule == (
            "x.example.org/upload"
        )
        assert not policy.request("PUT", "x.example.org", 443, "/").allowed

    def test_what_a_route_and_a_rule_allow_gets_the_credential(self):
        route = RoutePlan(
            to=allow("api.example.org", None, [], ["/v1"]), auth=CredentialPlan(token_ref="TOKEN")
        )
        policy = Policy([allow("api.example.org")], [route])
        assert policy.request("GET", "api.example.org", 443, "/v1/x").route is route
        assert policy.request("GET", "api.example.org", 443, "/v2/x").route is None

    def test_more_can_be_allowed(self):
        policy = Policy([])
        policy.add([allow("docs.python.org")])
        assert policy.request("GET", "docs.python.org", 443, "/").allowed

    def test_a_rule_for_a_whole_host_needs_to_see_nothing(self):
        assert not Policy([allow("a.example.org")]).sees_inside("a.example.org", 443)
        assert Policy([allow("a.example.org", None, ["GET"])]).sees_inside("a.example.org", 443)
        both = Policy([allow("a.example.org", None, ["GET"]), allow("a.example.org")])
        assert not both.sees_inside("a.example.org", 443)

    def test_a_route_does(self):
        route = RoutePlan(to=allow("a.example.org"), auth=CredentialPlan(token_ref="TOKEN"))
        assert Policy([allow("a.example.org")], [route]).sees_inside("a.example.org", 443)


class TestPaths:
    @pytest.mark.parametrize(
        "path",
        [
            *("/docs", "/docs/", "/docs/intro", "/docs?x=/../admin", "/docs#/../admin"),
            *("/docs/./intro", "/docs/a/../b", "/docs/a%20b", "/docs/a%2Fb", "/docs/a;v=1/b"),
        ],
    )
    def test_below_a_prefix(self, path):
        assert is_below(path, "/docs")
        assert is_below(path, "/docs/")
        assert is_below(path, "/")

    @pytest.mark.parametrize(
        "path",
        [
            *("/", "/docsearch", "/doc", "/Docs", "//docs", "/x/docs", "docs", "*", ""),
            *("/docs/../admin", "/docs/..", "/docs/a/../../admin", "/x/../docs"),
            *("/docs/%2e%2e/admin", "/docs/.%2e/admin", "/docs/%2E%2E%2Fadmin"),
            *("/docs/%252e%252e/admin", "/docs/%25252e%25252e/admin", "/docs%2f..%2fadmin"),
            *("/docs\\..\\admin", "/docs/..\\admin", "/docs/%5c../%5c../admin", "/docs%2fx"),
            *("/docs/..;/admin", "/docs/..;x=1/admin", "/docs/%2e%2e;/admin", "/%64ocs/x"),
        ],
    )
    def test_a_path_that_may_lead_out_is_not_below_it(self, path):
        assert not is_below(path, "/docs")


def test_a_host_in_its_one_form_is_an_address_or_a_name():
    assert address_of("127.0.0.1") == ipaddress.ip_address("127.0.0.1")
    assert address_of("docs.python.org") is None
