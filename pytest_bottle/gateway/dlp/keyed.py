"""Finds random values of keys such as `password` and `api_key`, and of no other keys."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.gateway.dlp.budget import Closeness

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORDS: Final = (
    b"password",
    b"passwd",
    b"passphrase",
    b"pwd",
    b"secret",
    b"token",
    b"apikey",
    b"api_key",
    b"api-key",
    b"access_key",
    b"access-key",
    b"accesskey",
    b"auth_key",
    b"private_key",
    b"signing_key",
    b"encryption_key",
    b"credential",
)
_ASSIGNED: Final = re.compile(
    rb"([\w-]{0,24})[\"'`\]]{0,3}[ \t]{0,8}(?:=>|:=|={1,3}|:|>)[ \t]{0,8}"
    rb"(?P<quote>[\"'`]?)(?P<value>[A-Za-z0-9+/=_.~!@#$%^*:-]{16,512})(?P<end>.?)",
    re.DOTALL,
)
_NAME: Final = re.compile(rb"[\w-]{0,32}\Z")
_OTHER_THINGS: Final = re.compile(
    rb"(?:id|url|uri|name|hash|sha\d*|digest|checksum|type|kind|file|path|dir|len|length|size|count"
    rb"|regex|pattern|re|class|index|expir\w*|max|min|pos|offset|format|version|arn|public)",
    re.IGNORECASE,
)
_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_READABLE: Final = re.compile(
    r"[A-Z]?[a-z]*\d{0,4}|[A-Z]+\d{0,4}|\d+|v\d+[a-z]\d+|(?:[A-Z][a-z]{2,})+\d*"
)
_HASHED: Final = re.compile(r"(?:sha\d+|md5|pbkdf2|bcrypt|argon2\w*)[-:$]", re.IGNORECASE)

_HEX_LENGTH = 32
_HEX_ENTROPY = 3.0
_SHARE_OF_LARGEST = 0.75
_LOWEST_ENTROPY = 3.3
_CHANGES = 0.22
"""Of neighbouring characters, how many are of another kind; words have few."""


def random_values(data: bytes) -> Iterator[tuple[str, str, int]]:
    """Yield the values that look random: the name of the key, the value, and where it starts.

    Raises:
        ExhaustedError: the values of such keys, one in the other, are too many.
    """
    lower = data.lower()
    closeness = Closeness(len(data))
    for word in _WORDS:
        at = lower.find(word)
        while at >= 0:
            end = at + len(word)
            found = _ASSIGNED.match(data, end)
            if found:
                closeness.look_at(len(found[0]))
            if found and (value := _value(found)):
                before = _NAME.search(data, max(0, at - 32), at)
                name = (before[0] if before else b"") + data[at:end] + found[1]
                if not any(map(_OTHER_THINGS.fullmatch, re.split(rb"[_-]+", found[1]))):
                    yield name.decode("latin-1").lower(), value, found.start("value")
            at = lower.find(word, end)


def entropy(value: str) -> float:
    """Return the bits per character that a value's characters have."""
    return -sum(
        count / len(value) * math.log2(count / len(value)) for count in Counter(value).values()
    )


def _value(found: re.Match[bytes]) -> str | None:
    value = found["value"].decode("ascii")
    if found["quote"]:
        if found["end"] != found["quote"]:
            return None
    elif found["end"] in {b"(", b"[", b"{"}:
        # A call, or something's item.
        return None
    value = value.rstrip(".:,!")
    return value if _is_random(value) else None


def _is_random(value: str) -> bool:
    if (
        _UUID.search(value)
        or _HASHED.match(value)
        or "://" in value
        or value.startswith(("$", "%"))
    ):
        return False
    if re.fullmatch(r"[0-9a-fA-F]+", value):
        return (
            len(value) >= _HEX_LENGTH and entropy(value) >= _HEX_ENTROPY and not value.isdecimal()
        )
    digits = sum(map(str.isdigit, value))
    letters = sum(map(str.isalpha, value))
    if digits < 2 or letters < 4 or all(map(_READABLE.fullmatch, re.split(r"[-_./:=@+~]+", value))):  # noqa: PLR2004
        return False
    kinds = [
        character.islower() + 2 * character.isupper() + 4 * character.isdigit()
        for character in value
    ]
    changes = sum(map(int.__ne__, kinds, kinds[1:]))
    enough = max(_LOWEST_ENTROPY, _SHARE_OF_LARGEST * math.log2(min(len(value), 64)))
    return changes >= _CHANGES * (len(value) - 1) and entropy(value) >= enough
