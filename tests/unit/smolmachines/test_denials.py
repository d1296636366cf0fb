"""What a machine's network refused, read from the engine's own list."""

from __future__ import annotations

import json
from datetime import UTC
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.backends.base import EgressDenial
from pytest_bottle.backends.smolmachines.denials import read_denials

if TYPE_CHECKING:
    from tests.unit.smolmachines.conftest import Replay

# Copied by hand from what smolvm 1.32.2 printed for a guest that tried these.
EVENTS = """
[
  {
    "timestamp": "2026-11-29T03:18:58Z",
    "operation": "connect",
    "dest": "198.51.100.2:7777"
  },
  {
    "timestamp": "2026-11-29T03:19:06Z",
    "operation": "sendto",
    "dest": "198.51.100.2:7777"
  },
  {
    "timestamp": "2026-11-29T03:19:32Z",
    "operation": "resolve",
    "dest": "denied.test"
  }
]
"""


def test_each_tells_what_was_tried_and_when():
    assert read_denials(json.loads(EVENTS)) == [
        EgressDenial(
            host="198.51.100.2",
            port=7777,
            protocol="tcp",
            time=datetime(2026, 11, 29, 3, 18, 58, tzinfo=UTC),
        ),
        EgressDenial(
            host="198.51.100.2",
            port=7777,
            protocol="udp",
            time=datetime(2026, 11, 29, 3, 19, 6, tzinfo=UTC),
        ),
        EgressDenial(
            host="denied.test",
            port=None,
            protocol="dns",
            time=datetime(2026, 11, 29, 3, 19, 32, tzinfo=UTC),
        ),
    ]


def test_a_recorded_list_is_read(replay: Replay):
    """A connection, and a name, which is looked up for both kinds of addresses."""
    found = read_denials(replay("egress-events").egress_events("net"))
    assert [(denial.protocol, denial.host, denial.port) for denial in found] == [
        ("tcp", "192.0.2.2", 80),
        ("dns", "example.com", None),
        ("dns", "example.com", None),
    ]
    assert read_denials(replay("egress-events: nothing yet").egress_events("net")) == []


@pytest.mark.parametrize(
    ("operation", "destination", "seen"),
    [
        ("connect", "[2001:db8::1]:80", ("2001:db8::1", 80, "tcp")),
        ("ping", "192.0.2.1", ("192.0.2.1", None, "ping")),
    ],
)
def test_what_was_not_seen_yet_is_told_as_far_as_it_is_understood(operation, destination, seen):
    event = {"timestamp": "2026-11-29T03:18:58Z", "operation": operation, "dest": destination}
    (denial,) = read_denials([event])
    assert (denial.host, denial.port, denial.protocol) == seen
