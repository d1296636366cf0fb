"""Text from a guest, made safe to print.

A terminal obeys control characters, and a guest writes what it likes.
"""

from __future__ import annotations

from typing import Final

_KEPT: Final = frozenset("\n\t")


def printable(text: str) -> str:
    """Return a text with what nobody can read spelled out; line ends and tabs are kept.

    Control characters are such, and those that turn the direction of text around, which can make it
    look like another.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char in _KEPT or char.isprintable() else repr(char)[1:-1]
        for char in text.replace("\r\n", "\n")
    )
