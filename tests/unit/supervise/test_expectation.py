"""Which proposals an expectation is for."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_bottle.gateway.supervise.expectation import Expectation
from pytest_bottle.gateway.supervise.proposal import Proposal

ARGUMENTS = {
    "egress": {"host": "docs.python.org", "port": None, "methods": ["GET"], "paths": ["/3/", "/2/"]}
}


def proposal(kind: str = "egress", reason: str = "to read", **arguments: Any) -> Proposal:
    given = {**ARGUMENTS.get(kind, {}), **arguments}
    return Proposal(id="1", kind=kind, arguments=given, reason=reason, time=0.0)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"host": "docs.python.org"},
        {"host": "*.python.org"},
        {"host": ["pypi.org", "docs.*"]},
        {"methods": "GET"},
        {"paths": "/[23]/"},
        {"paths": ["/3/", "/2/"]},
        {"port": None},
        {"reason": "*read*", "methods": ["GET", "HEAD"]},
    ],
)
def test_what_fits(fields):
    assert Expectation("egress", fields).matches(proposal())


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "python.org"},
        {"host": "DOCS.python.org"},
        {"paths": "/3/"},
        {"port": 443},
        {"reason": "to write"},
        {"host": "docs.python.org", "methods": "POST"},
    ],
)
def test_what_does_not(fields):
    assert not Expectation("egress", fields).matches(proposal())


def test_all_paths_are_more_than_some():
    assert not Expectation("egress", {"paths": "/3/"}).matches(proposal(paths=[]))
    assert Expectation("egress", {"paths": "*"}).matches(proposal(paths=[]))
    assert Expectation("egress", {"paths": []}).matches(proposal(paths=[]))


def test_another_kind_is_not_expected():
    assert not Expectation("egress", {}).matches(proposal("capability", name="gpu"))


def test_what_is_misspelt_is_said_at_once():
    with pytest.raises(ValueError, match="there is no kind 'egres'"):
        Expectation("egres", {})
    with pytest.raises(TypeError, match="egress has no field 'hots'"):
        Expectation("egress", {"hots": "example.org"})
    with pytest.raises(TypeError, match="no field 'hots' to modify"):
        Expectation("egress", {}).modify(hots="example.org")
    with pytest.raises(ValueError, match="from 1 on"):
        Expectation("egress", {}).times(0)


def test_what_a_guest_wrote_is_printed_harmlessly():
    hostile = proposal("capability", name="x\x1b[2J\nFAILED")
    assert str(hostile) == r"capability: the capability 'x\x1b[2J\nFAILED'"
    everything: dict[str, Any] = {"host": "x\x1b[2J", "port": None, "methods": ["\n"], "paths": []}
    assert str(proposal(**everything)) == r"egress: requests to \n x\x1b[2J"
