"""Sizes and spans of time in words, for tables that people read."""

from __future__ import annotations

from typing import Final

_KILO: Final = 1000
_SPANS: Final = (("d", 86400), ("h", 3600), ("min", 60))
"""Units of time, in seconds."""


def size_in_words(size: float) -> str:
    """Return a number of bytes as the docker command line shows it."""
    for unit in ("B", "kB", "MB"):
        if size < _KILO:
            return f"{size:.3g} {unit}"
        size /= _KILO
    return f"{size:.3g} GB"


def age_in_words(seconds: float) -> str:
    """Return a span in its largest whole unit."""
    for unit, length in _SPANS:
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
