"""Advice for a misspelt name: the nearest known one, or all of them."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the sentence that helps who wrote `name` instead of one of `known`."""
    names = sorted(known)
    if not names:
        return ""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(names)}."
