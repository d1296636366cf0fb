"""Reads what a machine's network refused, as the engine lists it."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.backends.base import EgressDenial

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Mapping

_PROTOCOLS: Final = {"connect": "tcp", "sendto": "udp", "resolve": "dns"}
"""What the engine calls an attempt, and what that is."""

_ADDRESS: Final = re.compile(r"\[?(?P<host>[^\]]+)\]?:(?P<port>\d+)")


def read_denials(events: Iterable[Mapping[str, Any]]) -> list[EgressDenial]:
    """Return the denials of a machine."""
    return [_denial(event) for event in events]


def _denial(event: Mapping[str, Any]) -> EgressDenial:
    operation, destination = str(event["operation"]), str(event["dest"])
    found = None if operation == "resolve" else _ADDRESS.fullmatch(destination)
    return EgressDenial(
        host=found["host"] if found else destination,
        port=int(found["port"]) if found else None,
        protocol=_PROTOCOLS.get(operation, operation),
        time=datetime.fromisoformat(str(event["timestamp"])),
    )
