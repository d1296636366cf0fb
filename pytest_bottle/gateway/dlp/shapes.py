"""Finds what is shaped like a secret: the keys of known services, and random values of keys."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.gateway.dlp.keyed import entropy
from pytest_bottle.gateway.dlp.keyed import random_values
from pytest_bottle.gateway.dlp.plugins import Detectors
from pytest_bottle.gateway.dlp.services import SERVICE_KEYS

if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Iterator

_PRIVATE_KEY: Final = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----(?P<body>.{1,600})", re.DOTALL
)
_PUTTY_KEY: Final = re.compile(rb"PuTTY-User-Key-File-\d:.{1,600}?\nPrivate-Lines: \d", re.DOTALL)
_HEADERS: Final = re.compile(rb"\A(?:\s*[A-Za-z-]+: [^\r\n]*\r?\n){1,6}")
_KEY_TEXT: Final = re.compile(rb"\A\s*(?:[A-Za-z0-9+/=]{16,}\s*){2,}|\A\s*[A-Za-z0-9+/=]{40,}")

_PLACEHOLDER: Final = re.compile(
    r"example|placeholder|xxxx|dummy|changeme|your[_-]|redacted|\*{3}|[<>{}]|\.\.\.|abcdef|123456789"
    r"|\$[A-Z(]|%[sd(]",
    re.IGNORECASE,
)
_VARIETY = 2.5
"""Bits per character that no real key's value lacks."""
_COMMON_PASSWORDS: Final = re.compile(
    r"(?i)(?:my|some|the|user|db|proxy)?[_-]?"
    r"(?:pass(?:word|wd|wort)?|pwd|pw|secret|token|hunter2|test|foo|bar|baz|spam|admin|root|guest)\d*|\d{1,6}"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """A value that looks like a secret."""

    rule: str
    value: str
    line: int
    """From 1."""


class Shapes:
    """The search for what looks like a secret; its detectors take a while to load."""

    def __init__(self, known: Collection[str]) -> None:
        """Prepare the search.

        Args:
            known: Values that are passed over.

        Raises:
            CapabilityError: `detect-secrets` is not installed.
        """
        self._known = {value for value in known if value}
        self._detectors = Detectors()

    def search(self, data: bytes) -> Iterator[Shape]:
        """Yield what looks like a secret, each value once in a line.

        Raises:
            ExhaustedError: too much of it has to be looked at closely.
        """
        seen: dict[int, list[str]] = {}
        for rule, value, at in self._all(data):
            if self._is_known(value):
                continue
            line = 1 + data.count(b"\n", 0, at)
            values = seen.setdefault(line, [])
            # Several rules may find the same.
            if not any(value in other or other in value for other in values):
                values.append(value)
                yield Shape(rule, value, line)

    def _all(self, data: bytes) -> Iterator[tuple[str, str, int]]:
        yield from _private_keys(data)
        for rule, value, at in (*_service_keys(data), *self._detectors.search(data)):
            if not _is_placeholder(rule, value):
                yield rule, value, at
        for name, value, at in random_values(data):
            if not _PLACEHOLDER.search(value):
                yield f'high-entropy near "{name}"', value, at

    def _is_known(self, value: str) -> bool:
        return any(value in known or known in value for known in self._known)


def _service_keys(data: bytes) -> Iterator[tuple[str, str, int]]:
    for key in SERVICE_KEYS:
        at = data.find(key.anchor)
        while at >= 0:
            end = at + len(key.anchor)
            start = max(0, at - key.before)
            found = (
                key.pattern.search(data, start, end + 400)
                if key.before
                else key.pattern.match(data, at)
            )
            if found:
                yield key.rule, found[0].decode("latin-1"), found.start()
                end = max(end, found.end())
            at = data.find(key.anchor, end)


def _private_keys(data: bytes) -> Iterator[tuple[str, str, int]]:
    """Yield keys with something of their content: programs and texts name the header alone."""
    if b"PRIVATE KEY" in data:
        for found in _PRIVATE_KEY.finditer(data):
            content = _HEADERS.sub(b"", found["body"].lstrip())
            if text := _KEY_TEXT.match(content):
                yield "private-key", text[0].decode().strip(), found.start()
    if b"PuTTY-User-Key-File-" in data:
        for found in _PUTTY_KEY.finditer(data):
            yield "private-key", found[0].decode("latin-1"), found.start()


def _is_placeholder(rule: str, value: str) -> bool:
    if _PLACEHOLDER.search(value):
        return True
    if rule == "basic-auth-credentials":
        return bool(_COMMON_PASSWORDS.fullmatch(value))
    return entropy(value) < _VARIETY
