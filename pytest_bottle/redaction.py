"""Takes the values of declared secrets out of whatever is shown or written."""

from __future__ import annotations

import base64
import json
import os
import re
from typing import TYPE_CHECKING
from urllib.parse import quote
from urllib.parse import quote_plus

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Iterator
    from collections.abc import Mapping

_LONG_ENOUGH = 8
"""Bytes from which on a value is looked for in the middle of something encoded."""


def redactor(
    names: Iterable[str], environ: Mapping[str, str] | None = None
) -> Callable[[str], str]:
    """Return a function that replaces the values of environment variables by `[secret NAME]`.

    Their base64, hexadecimal, URL-encoded and JSON-escaped forms are replaced as well.

    Args:
        names: Of the variables; one that is not set is passed over.
        environ: Where their values are; else this process's environment.
    """
    values = os.environ if environ is None else environ
    replacements: dict[str, str] = {}
    for name in names:
        if value := values.get(name):
            replacements.update(dict.fromkeys(forms(value), f"[secret {name}]"))
    # Longest first: one secret may hold another.
    ordered = sorted(replacements.items(), key=lambda item: -len(item[0]))

    def redact(text: str) -> str:
        for form, replacement in ordered:
            text = text.replace(form, replacement)
        return text

    return redact


def forms(value: str) -> set[str]:
    """Return what a value looks like where it was encoded; the value itself is one of them."""
    raw = value.encode(errors="surrogateescape")
    found = {value, raw.hex(), raw.hex().upper(), *_base64(raw)}
    for url in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        found |= {url, re.sub("%..", lambda escape: escape[0].lower(), url)}
    for ascii_only in (True, False):
        once = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        # Twice: events are JSON, and the input of a tool is JSON in a string of theirs.
        twice = json.dumps(once, ensure_ascii=ascii_only)[1:-1]
        found |= {once, twice, once.replace("/", "\\/")}
    return found


def _base64(raw: bytes) -> Iterator[str]:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(raw).decode().rstrip("=")
        if len(raw) < _LONG_ENOUGH:
            continue
        # With something before and after it, as in `user:password`: the characters at its ends
        # hold bits of both.
        for before in range(3):
            first, last = -(-8 * before // 6), 8 * (before + len(raw)) // 6
            yield encode(bytes(before) + raw).decode()[first:last]
