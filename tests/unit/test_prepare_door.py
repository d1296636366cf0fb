"""What a bottle declares of its door, resolved on the host, or refused there."""

from __future__ import annotations

import pytest

from pytest_bottle.door_plan import AllowPlan
from pytest_bottle.door_plan import CredentialPlan
from pytest_bottle.door_plan import DoorPlan
from pytest_bottle.door_plan import EgressPlan
from pytest_bottle.door_plan import SupervisePlan
from pytest_bottle.errors import MarkerError
from pytest_bottle.guest_door import door_environment
from pytest_bottle.lifecycle.prepare import prepare
from pytest_bottle.lifecycle.spec import spec_from_arguments
from pytest_bottle.manifest import EMPTY
from tests.unit.planning import plan
from tests.unit.planning import project
from tests.unit.planning import refuse
from tests.unit.planning import skill_home

__all__ = ["plan", "project", "refuse", "skill_home"]

EVERYTHING = """
[bottles.dev.egress]
allow = ["docs.python.org", "*.example.org:8443", {host = "[::1]:80", methods = ["get"]}]
mode = "log"
dlp = false
upstream = "http://proxy.example.org:3128"

[[bottles.dev.egress.routes]]
host = "api.example.org"
paths = ["/v1"]
auth = {scheme = "basic", username = "me", token_ref = "API_TOKEN"}

[bottles.dev.git]
user = {name = "Agent", email = "agent@example.org"}
remotes.own = {}
remotes.app = {url = "https://git.example.org/app.git", auth.token_ref = "GIT_TOKEN"}

[bottles.dev.supervise]
timeout = "2m"
"""
TOKENS = {"API_TOKEN": "api", "GIT_TOKEN": "git"}


def test_a_bottle_that_declares_nothing_has_no_part_of_it(plan):
    assert plan().door == DoorPlan()
    assert plan().door.kinds == ()
    assert door_environment(plan().door, "pass", "/root") == {}


def test_all_of_it_is_resolved(plan):
    door = plan(EVERYTHING, bottle="dev", environ=TOKENS).door
    assert door.kinds == ("egress", "git", "supervise")
    assert door.token_refs == ("API_TOKEN", "GIT_TOKEN")
    assert door.egress.allow == (
        AllowPlan(host="*.example.org", port=8443),
        AllowPlan(host="::1", port=80, methods=("GET",)),
        AllowPlan(host="docs.python.org"),
    )
    (route,) = door.egress.routes
    assert route.to == AllowPlan(host="api.example.org", paths=("/v1",))
    assert route.auth == CredentialPlan(token_ref="API_TOKEN", scheme="basic", username="me")
    assert (door.egress.mode, door.egress.dlp) == ("log", False)
    app, own = door.git.remotes
    assert (app.name, own.name, own.url) == ("app", "own", None)
    assert app.allow_push == ("refs/heads/*",)
    assert door.supervise == SupervisePlan(timeout=120.0)


def test_it_travels_as_json(plan):
    """To the process that is the door."""
    door = plan(EVERYTHING, bottle="dev", environ=TOKENS).door
    assert DoorPlan.from_json(door.to_json()) == door
    assert DoorPlan.from_json(DoorPlan().to_json()) == DoorPlan()


def test_the_values_of_credentials_are_not_in_the_plan(plan):
    values = {"API_TOKEN": "value-of-api", "GIT_TOKEN": "value-of-git"}
    assert "value-of" not in repr(plan(EVERYTHING, bottle="dev", environ=values))


def test_the_markers_hosts_take_the_place_of_the_manifests(plan):
    door = plan(EVERYTHING, bottle="dev", environ=TOKENS, egress=["pypi.org:443"]).door
    assert door.egress.allow == (AllowPlan(host="pypi.org", port=443),)
    assert len(door.egress.routes) == 1


def test_a_marker_alone_declares_a_proxy(plan):
    assert plan(egress=["pypi.org"]).door.egress == EgressPlan(allow=(AllowPlan(host="pypi.org"),))


def test_supervise_is_switched_on_and_off(plan):
    assert plan("bottles.dev.supervise = true", bottle="dev").door.supervise == SupervisePlan()
    assert plan("bottles.dev.supervise = false", bottle="dev").door.supervise is None


def test_an_agent_knows_its_supervisor(plan):
    text = "[agents.a]\nbottle = 'dev'\n[bottles.dev]\nsupervise = true"
    (server,) = plan(text, agent="a").agent.mcp_servers
    assert (server.name, server.url) == ("supervise", "http://127.0.0.1:4183/mcp")
    assert server.bearer_variable == "BOTTLE_PASS"


def test_a_network_past_the_proxy_asks_for_no_proxy(plan):
    result = plan("bottles.dev.egress.network = ['192.0.2.7']", bottle="dev")
    assert (result.door.egress, result.network) == (None, ("192.0.2.7",))


def test_bottles_with_different_doors_are_different(plan):
    one = plan(EVERYTHING, bottle="dev", environ=TOKENS)
    same = plan(EVERYTHING, bottle="dev", environ=TOKENS)
    other = plan(EVERYTHING, bottle="dev", environ=TOKENS, egress=[])
    assert one.digest == same.digest != other.digest


def test_a_repository_of_this_host_is_found_from_the_manifest(plan, project):
    (project / "repo").mkdir()
    door = plan("[bottles.dev.git.remotes]\norigin.url = 'repo'", bottle="dev").door
    assert door.git.remotes[0].url == str(project / "repo")


class TestRefused:
    """With the file, the key, and what to do; a value that may be a secret is not repeated."""

    def test_a_credential_whose_variable_is_not_set(self, refuse):
        error = refuse(EVERYTHING, bottle="dev", environ={"GIT_TOKEN": "git"})
        assert error.key == "bottles.dev.egress.routes.0.auth.token_ref"
        assert error.problem == "the environment variable API_TOKEN is not set on this host."
        assert error.remedy == "Export API_TOKEN, or correct the name."

    def test_a_git_credential_whose_variable_is_not_set(self, refuse):
        error = refuse(EVERYTHING, bottle="dev", environ={"API_TOKEN": "api", "GIT_TOKEN": ""})
        assert error.key == "bottles.dev.git.remotes.app.auth.token_ref"

    @pytest.mark.parametrize(
        ("text", "key", "problem"),
        [
            ("egress.allow = ['*']", "egress.allow.0.host", "must not allow everything"),
            ("egress.allow = ['*.com']", "egress.allow.0.host", 'must not allow all of ".com"'),
            ("egress.allow = ['10.0.0.0/8']", "egress.allow.0.host", "must not be a network"),
            ("egress.allow = ['https://a.org']", "egress.allow.0.host", "must not be a URL"),
            ("egress.allow = ['a.org:0']", "egress.allow.0.host", "a port between 1 and 65535"),
            (
                "egress.allow = [{host='a.org', paths=['/a/../b']}]",
                "egress.allow.0.paths.0",
                "must begin with `/`",
            ),
            (
                "egress.upstream = 'http://me:hunter2@proxy:80'",
                "egress.upstream",
                "must not have a password in it",
            ),
            (
                "egress.routes = [{host='a.org', auth={scheme='basic', token_ref='T'}}]",
                "egress.routes.0.auth",
                "must have `username` with scheme `basic`",
            ),
            (
                "egress.routes = [{host='a.org', auth={scheme='header', token_ref='T', "
                "header='Host'}}]",
                "egress.routes.0.auth.header",
                "must not be Host",
            ),
            (
                "git.remotes.'../x' = {}",
                'git.remotes."../x"',
                "must be a remote's name",
            ),
            (
                "git.remotes.x.url = 'https://me:hunter2@git.example.org/x'",
                "git.remotes.x.url",
                "has a name or a password in it",
            ),
            ("git.remotes.x.url = 'ftp://a.org/x'", "git.remotes.x.url", "has the scheme ftp"),
            ("git.remotes.x.url = './nowhere'", "git.remotes.x.url", "there is no repository"),
            (
                "git.remotes.x = {url='ssh://git@a.org/x', auth.token_ref='T'}",
                "git.remotes.x.auth",
                "a credential is put on for https URLs only",
            ),
            ("git.remotes.x.allow_push = ['main']", "git.remotes.x.allow_push.0", "a full ref"),
        ],
    )
    def test_what_cannot_be_meant(self, refuse, text, key, problem):
        error = refuse(f"[bottles.dev]\n{text}", bottle="dev", environ={"T": "token"})
        assert error.key == f"bottles.dev.{key}"
        assert problem in error.problem
        assert error.remedy
        assert "hunter2" not in str(error)

    def test_a_door_of_several_workers(self, tmp_path):
        """Whose records would be everybody's."""
        spec = spec_from_arguments("test_a.py::test_b", egress=["a.org"])
        with pytest.raises(MarkerError, match="scope='run' shares a bottle among workers"):
            prepare(
                spec,
                EMPTY,
                name="n",
                run_id="1",
                worker="main",
                state_dir=tmp_path,
                backend="fake",
                default_timeout=1.0,
                agent_kinds={},
                shared=True,
            )


class TestEnvironment:
    """What every command is told of the door."""

    def test_its_pass_and_its_proxy(self, plan):
        env = door_environment(plan(egress=["a.org"]).door, "pass", "/home/node")
        assert env["BOTTLE_PASS"] == "pass"
        assert env["HTTPS_PROXY"] == env["http_proxy"] == "http://bottle:pass@127.0.0.1:4181"
        assert "127.0.0.1" in env["NO_PROXY"]
        assert env["NODE_EXTRA_CA_CERTS"] == "/home/node/.bottle/ca.pem"
        assert env["SSL_CERT_FILE"] == env["PIP_CERT"] == "/home/node/.bottle/ca-bundle.pem"

    def test_no_proxy_where_it_has_none(self, plan):
        door = plan("bottles.dev.supervise = true", bottle="dev").door
        assert door_environment(door, "pass", "/root") == {"BOTTLE_PASS": "pass"}
