"""Which refs a pattern stands for, and what a push's hook and git's own words say."""

from __future__ import annotations

import os

import pytest

from pytest_bottle.door_plan import CredentialPlan
from pytest_bottle.door_plan import RemotePlan
from pytest_bottle.gateway.git.environment import plain_environment
from pytest_bottle.gateway.git.environment import reaching_environment
from pytest_bottle.gateway.git.pushes import Command
from pytest_bottle.gateway.git.pushes import commands_of
from pytest_bottle.gateway.git.pushes import matches
from pytest_bottle.gateway.git.repository import refs_to_mirror
from pytest_bottle.gateway.git.upstream import environment_for
from pytest_bottle.gateway.git.upstream import protocol_of
from pytest_bottle.gateway.git.upstream import said

ZEROS = "0" * 40
ONE = "1" * 40


@pytest.mark.parametrize(
    ("pattern", "ref", "expected"),
    [
        ("refs/heads/*", "refs/heads/main", True),
        ("refs/heads/*", "refs/heads/a/b", True),
        ("refs/heads/agent/*", "refs/heads/agents", False),
        ("refs/heads/main", "refs/heads/main", True),
        ("refs/heads/main", "refs/heads/main2", False),
        ("refs/heads/main", "refs/heads/main\n", False),
        ("refs/heads/a.b", "refs/heads/axb", False),
        ("refs/*/x", "refs/heads/y/x", True),
        ("refs/heads/*", "refs/tags/v1", False),
    ],
)
def test_a_star_stands_for_anything(pattern, ref, expected):
    assert matches(pattern, ref) is expected


def test_a_hooks_question():
    asked = f"/q\n/a:/b\n{ZEROS} {ONE} refs/heads/new\n{ONE} {ZEROS} refs/heads/a b".encode()
    objects, commands = commands_of(asked)
    assert objects["GIT_OBJECT_DIRECTORY"] == "/q"
    assert commands == [
        Command(ref="refs/heads/new", old=ZEROS, new=ONE),
        Command(ref="refs/heads/a b", old=ONE, new=ZEROS),
    ]
    assert [(one.creates, one.deletes) for one in commands] == [(True, False), (False, True)]


def test_pull_requests_are_not_mirrored():
    listed = (
        f"ref: refs/heads/main\tHEAD\n{ONE}\tHEAD\n{ONE}\trefs/heads/main\n"
        f"{ONE}\trefs/pull/1/head\n{ONE}\trefs/tags/v1\n{ZEROS}\trefs/tags/v1^{{}}\n"
    )
    head, refs = refs_to_mirror(listed.encode())
    assert head == "refs/heads/main"
    assert refs == {"refs/heads/main": ONE, "refs/tags/v1": ONE}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.org/a.git", "https"),
        ("ssh://git@example.org/a.git", "ssh"),
        ("git@example.org:a.git", "ssh"),
        ("/srv/git/a.git", "file"),
        ("ext::sh -c id", "ssh"),
    ],
)
def test_only_the_protocol_of_the_url_is_allowed(url, expected):
    assert protocol_of(url) == expected
    assert reaching_environment(expected, {}, {})["GIT_ALLOW_PROTOCOL"] == expected


def test_the_token_is_in_a_setting_and_in_nothing_that_is_said():
    auth = CredentialPlan(token_ref="T", scheme="basic", username="me")
    remote = RemotePlan(name="a", url="https://example.org/a.git", credential=auth)
    env = environment_for(remote, "the-token-1234", {"PATH": "/bin", "GIT_DIR": "/elsewhere"})
    keys = {env[f"GIT_CONFIG_KEY_{number}"] for number in range(int(env["GIT_CONFIG_COUNT"]))}
    assert keys == {"http.userAgent", "http.extraHeader"}
    assert "GIT_DIR" not in env
    words = b"fatal: unable to open the-token-1234 of bWU6dGhlLXRva2VuLTEyMzQ="
    assert said(words, remote, "the-token-1234") == "fatal: unable to open [secret] of [secret]"


def test_a_git_that_serves_a_guest_has_no_variables_of_the_host(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    assert set(plain_environment()) & {"AWS_SECRET_ACCESS_KEY", "GIT_DIR"} == set()
    assert plain_environment()["PATH"] == os.environ["PATH"]
