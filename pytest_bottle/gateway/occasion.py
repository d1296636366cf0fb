"""The test on whose behalf a bottle's door is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """One test; all of it may be left out where there is none."""

    test: str = ""
    """Its node id."""
    cassette: Path | None = None
    """Where its recorded answers are, or will be."""
    evidence: Path | None = None
    """The directory that its record is written to; None writes none."""
