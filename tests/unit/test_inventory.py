"""Which images are ours, and which of them nobody uses."""

from __future__ import annotations

import pytest

from pytest_bottle.backends.docker.inventory import OurImage
from pytest_bottle.backends.docker.inventory import kind_of
from pytest_bottle.backends.docker.inventory import select_unused

AGENT = {"pytest-bottle.image": "agent", "pytest-bottle.image.name": "team/agent:1"}


@pytest.mark.parametrize(
    ("name", "labels", "kind"),
    [
        ("pytest-bottle-ready:0a", {}, "ready"),
        ("pytest-bottle-ready:0a", AGENT, "ready"),
        ("pytest-bottle-built:0a", AGENT, "built"),
        ("team/agent:1", AGENT, "agent"),
        ("pytest-bottle-agent:latest", {"pytest-bottle.image": "agent"}, "agent"),
    ],
)
def test_ours_are_known(name, labels, kind):
    assert kind_of(name, labels) == kind


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("debian:bookworm-slim", {}),
        ("team/agent:1", {}),
        ("upon/ours:1", AGENT),
        ("pytest-bottle-agent:latest", {}),
        ("other/pytest-bottle-ready:0a", AGENT),
    ],
)
def test_others_are_not_ours_whatever_they_inherit(name, labels):
    assert kind_of(name, labels) is None


def image(kind: str, identity: str, parent: str = "") -> OurImage:
    return OurImage(
        name=f"{kind}:{identity}",
        kind=kind,
        id=identity,
        parent=parent,
        size=1,
        created=0,
        contents="",
    )


def test_what_is_made_again_and_not_used_can_go():
    images = [image("agent", "a"), image("built", "b"), image("ready", "r", "b")]
    assert [one.id for one in select_unused(images, {"somebody's"})] == ["b", "r"]


def test_what_a_container_runs_from_stays_with_what_it_stands_on():
    images = [image("built", "b"), image("ready", "r", "b"), image("ready", "s", "b")]
    assert [one.id for one in select_unused(images, {"r"})] == ["s"]
