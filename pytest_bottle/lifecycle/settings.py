"""How bottles are run, apart from what any one test asks for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_bottle.gateway.values import Mode
    from pytest_bottle.usage import Budget

AUTO: Final = "auto"

DEFAULT_TIMEOUT: Final = 60.0
"""Seconds for a command."""

SLOT_DEADLINE: Final = 600.0
"""Seconds to wait for a slot: long enough for a suite in front, short enough for CI."""


def default_slots() -> int:
    """Return how many bottles this host may have at once: it is their idle memory that counts."""
    return max(16, 16 * (os.cpu_count() or 1))


def default_launches() -> int:
    """Return how many launches may be in flight at once on this host: they want CPU."""
    return max(4, 2 * (os.cpu_count() or 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The lifecycle's own settings."""

    backend: str = AUTO
    slots: int = 0
    """Bottles at once on this host; 0 is `default_slots()`."""
    slot_deadline: float = SLOT_DEADLINE
    """Seconds."""
    timeout: float = DEFAULT_TIMEOUT
    """Seconds for a command where nobody says otherwise."""
    model: Mode = "scripted"
    """Where answers come from in tests that script none."""
    budget: Budget | None = None
    """What the models of the whole run may cost; None sets no bound."""
    prices: Path | None = None
    """A file with prices that go before the built-in ones."""
    report: Callable[[str], None] = lambda _line: None
    """Told, in a line, of whatever makes a person wait."""
