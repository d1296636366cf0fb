"""What the models' answers took, one line each in a file that outlives the door."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FILE_NAME: Final = "ledger.jsonl"
"""In the run's directory, with which it goes: read it before the run is ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What one answer took."""

    test: str
    bottle: str
    agent: str
    model: str
    usage: Usage
    cost: float | None
    """US dollars; None where the model has no price."""
    origin: str
    """`script`, `cassette` or `upstream`: only the last was paid for."""
    status: int
    at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What several answers took together."""

    requests: int = 0
    usage: Usage = field(default_factory=Usage)
    cost: float = 0.0
    """US dollars, of the models that have a price."""
    paid: float = 0.0
    """The part of `cost` that went to a real API: a script's and a cassette's are notional."""
    unpriced: frozenset[str] = frozenset()
    """Models that took tokens and have no price."""


class Ledger:
    """The file, as its writer has it; one a run."""

    def __init__(self, path: Path) -> None:
        """Open the file, made where there is none.

        Raises:
            OSError: it could not be opened.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)

    def add(self, line: Line) -> None:
        """Write a line, at once and in one piece.

        Raises:
            OSError: it could not be written.
        """
        # The line break comes first: it also ends a line that a full disk has torn.
        os.write(self._descriptor, b"\n" + json.dumps(dataclasses.asdict(line)).encode())

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_ledger(path: Path) -> list[Line]:
    """Return a ledger's lines, whether or not its writer still lives; a torn one is left out."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    lines = []
    for row in text.split(b"\n"):
        try:
            value = json.loads(row)
            lines.append(Line(**{**value, "usage": Usage(**value["usage"])}))
        except (ValueError, TypeError, KeyError):
            continue
    return lines


def total(lines: Iterable[Line]) -> Totals:
    """Add lines up."""
    requests, usage, cost, paid = 0, Usage(), 0.0, 0.0
    unpriced: set[str] = set()
    for line in lines:
        requests += 1
        usage += line.usage
        if line.cost is not None:
            cost += line.cost
            paid += line.cost if line.origin == "upstream" else 0.0
        elif line.usage.total_tokens:
            unpriced.add(line.model)
    return Totals(
        requests=requests, usage=usage, cost=cost, paid=paid, unpriced=frozenset(unpriced)
    )


def by_test(lines: Iterable[Line]) -> dict[str, Totals]:
    """Add lines up for each test, in the order in which they began to ask."""
    sorted_out: dict[str, list[Line]] = {}
    for line in lines:
        sorted_out.setdefault(line.test, []).append(line)
    return {test: total(own) for test, own in sorted_out.items()}
