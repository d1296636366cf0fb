"""Finds the values of declared secrets in bytes, also where they are spelled differently."""

from __future__ import annotations

import base64
import codecs
import json
import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Final
from urllib.parse import unquote_plus

from pytest_bottle.redaction import forms

if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Iterator
    from collections.abc import Mapping

RECOGNISABLE: Final = 8
"""Bytes from which on a value is looked for inside of anything."""

_TOKEN = 4
"""Bytes from which on a shorter value is looked for where it stands as a value of its own."""

_SPREADABLE = 16
"""Bytes from which on a value is also looked for with separators in it, or in another case."""

_FOLDED_LENGTH = 9
_FOLDED_VARIETY = 6
_FOLDED_PLAIN_LENGTH = 12
"""What is left of a form when it is folded must be so long, and of so many characters."""

_SAMPLED = 20
_SAMPLE = 8
"""A form of so many bytes is told by some piece of `_SAMPLE` bytes, taken at every n-th byte."""

_LETTERS_AND_DIGITS = (string.ascii_letters + string.digits).encode()
_SEPARATORS = bytes(set(range(256)) - set(_LETTERS_AND_DIGITS))
_LOWER = bytes(range(256)).lower()

_EXPANSION = 16
"""Bytes that one byte of a value takes at most, escaped and with separators."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A declared secret that is there."""

    name: str
    encoding: str
    """How it is written; empty where it is as it was declared."""


@dataclass(frozen=True, slots=True)
class _Needle:
    form: bytes
    name: str
    encoding: str


class DeclaredSecrets:
    """The values of secrets by their names, made ready for a fast search.

    A value of 8 bytes or more is found anywhere: as it is, reversed, as UTF-16, URL-encoded or
    JSON-escaped, and in base64, base32 and hexadecimal at any alignment, in any alphabet, case and
    line length, with any separators. One of 16 bytes or more is found with separators between its
    characters, in another case and as ROT13 as well. A shorter one (from 4 bytes) is only found
    where it stands alone: quoted, or between white space, `=`, `:`, `&` and the like; one of less
    than 4 bytes only where it is all that there is. Short values would be found in any text.
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        """Take the values by their names; empty ones are passed over."""
        self._plain: list[_Needle] = []
        self._folded: list[_Needle] = []
        self._alone: list[tuple[re.Pattern[bytes], str]] = []
        self._whole: dict[bytes, str] = {}
        self.longest = 0
        """Bytes that the longest of them takes up in any of its forms."""
        for name, given in secrets.items():
            value = given.strip()
            raw = value.encode(errors="surrogateescape")
            if not raw:
                continue
            self.longest = max(self.longest, len(raw) * _EXPANSION)
            if len(raw) >= RECOGNISABLE:
                self._prepare(name, value, raw)
                continue
            self._whole[raw] = name
            if len(raw) >= _TOKEN:
                pattern = rb"(?:^|(?<=[\s\"'`=:>,;&?/@]))%b(?=$|[\s\"'`<,;&@])" % re.escape(raw)
                self._alone.append((re.compile(pattern, re.MULTILINE), name))
        # Ones that hold another find nothing that the other does not.
        folded = list(_without_superfluous(self._folded))
        self._folded = [needle for needle in folded if len(needle.form) < _SAMPLED]
        self._sampled = [needle for needle in folded if len(needle.form) >= _SAMPLED]
        self._samples = frozenset(
            needle.form[at : at + _SAMPLE]
            for needle in self._sampled
            for at in range(len(needle.form) - _SAMPLE + 1)
        )
        shortest = min((len(needle.form) for needle in self._sampled), default=_SAMPLED)
        self._step = shortest - _SAMPLE + 1

    def __bool__(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self._plain or self._whole)

    def search(self, data: bytes, passed: Collection[str] = ()) -> Iterator[Occurrence]:
        """Yield those that are in some bytes, each once.

        Args:
            data: What is searched, without decoding it.
            passed: Names that are not looked for.
        """
        found = set(passed)
        whole = self._whole.get(data.strip()) if self._whole else None
        if whole is not None and whole not in found:
            found.add(whole)
            yield Occurrence(whole, "")
        for needle in self._plain:
            if needle.name not in found and needle.form in data:
                found.add(needle.name)
                yield Occurrence(needle.name, needle.encoding)
        for pattern, name in self._alone:
            if name not in found and pattern.search(data):
                found.add(name)
                yield Occurrence(name, "")
        if not (self._folded or self._sampled):
            return
        folded = fold(data)
        for needle in (*self._folded, *(self._sampled if self._may_be_in(folded) else ())):
            if needle.name not in found and needle.form in folded:
                found.add(needle.name)
                yield Occurrence(needle.name, needle.encoding)

    def _may_be_in(self, folded: bytes) -> bool:
        """Tell whether looking for the long forms one by one is worth it; hardly ever it is."""
        if not self._sampled:
            return False
        places = range(0, len(folded) - _SAMPLE + 1, self._step)
        return not self._samples.isdisjoint(folded[at : at + _SAMPLE] for at in places)

    def _prepare(self, name: str, value: str, raw: bytes) -> None:
        wide = value.encode("utf-16-le", errors="replace")[:-1]
        plain = {raw: "", raw[::-1]: "reversed", wide: "UTF-16"}
        folded: dict[bytes, str] = {}
        for form in forms(value):
            encoding = _encoding(form, value, raw)
            written = form.encode(errors="surrogateescape")
            if encoding in {"base64", "hex"} and _is_distinct(fold(written), _FOLDED_LENGTH):
                folded[fold(written)] = encoding
            else:
                plain.setdefault(written, encoding)
        for shifted in _base32(raw):
            if _is_distinct(fold(shifted), _FOLDED_LENGTH):
                folded[fold(shifted)] = "base32"
        if len(raw) >= _SPREADABLE and _is_distinct(fold(raw), _FOLDED_PLAIN_LENGTH):
            bare = fold(raw)
            folded[bare[::-1]] = "reversed"
            folded[codecs.encode(bare.decode(), "rot13").encode()] = "ROT13"
            folded[bare] = "with separators or in another case"
        self._plain += (_Needle(form, name, encoding) for form, encoding in plain.items())
        self._folded += (_Needle(form, name, encoding) for form, encoding in folded.items())


def fold(data: bytes) -> bytes:
    """Return bytes without anything but letters and digits, and those in lower case.

    It makes the alphabets, line breaks and padding of base64, the case of hexadecimal, and any
    separators disappear; what remains of a form is still long enough to be told from chance.
    """
    return data.translate(_LOWER, _SEPARATORS)


def _is_distinct(folded: bytes, length: int) -> bool:
    return len(folded) >= length and len(set(folded)) >= _FOLDED_VARIETY


def _encoding(form: str, value: str, raw: bytes) -> str:
    if form == value:
        return ""
    if form.lower() == raw.hex():
        return "hex"
    if unquote_plus(form, errors="surrogateescape") == value:
        return "URL-encoded"
    if _unescaped(form) == value or _unescaped(_unescaped(form)) == value:
        return "escaped"
    return "base64" if re.fullmatch(r"[\w+/-]+", form, re.ASCII) else "URL-encoded"


def _unescaped(form: str) -> str:
    try:
        return str(json.loads(f'"{form}"', strict=False))
    except ValueError:
        return ""


def _base32(raw: bytes) -> Iterator[bytes]:
    """Yield the characters that depend on a value alone, for what may stand before it."""
    for before in range(5):
        first, last = -(-8 * before // 5), 8 * (before + len(raw)) // 5
        yield base64.b32encode(bytes(before) + raw)[first:last]


def _without_superfluous(needles: list[_Needle]) -> Iterator[_Needle]:
    for needle in needles:
        if not any(
            other.form in needle.form and other.form != needle.form and other.name == needle.name
            for other in needles
        ):
            yield needle
