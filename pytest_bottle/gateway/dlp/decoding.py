"""Decodes what is encoded as text in bytes: what a search looks through in the next round."""

from __future__ import annotations

import binascii
import html
import re
from collections.abc import Callable  # noqa: TC003 - the types of constants
from collections.abc import Iterator  # noqa: TC003
from typing import TYPE_CHECKING
from typing import Final
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from pytest_bottle.gateway.dlp.budget import Budget

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_HEX = b"0123456789abcdefABCDEF"
_STANDARD = bytes.maketrans(b"-_", b"+/")
_SHORTEST_BASE64 = 16
_SHORTEST_HEX = 32
_WRAPPED, _WIDEST = 40, 1000
"""Characters of a line of base64 that may go on in the next one."""

_PRINTABLE = bytes((9, 10, 13, *range(32, 127)))
_HEAD = 64
_MARKS: Final = (b"\x1f\x8b\x08", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ")
_SHORT_MARKS: Final = (b"x\x9c", b"x\xda", b"x\x01")

_PERCENT = re.compile(rb"%[0-9A-Fa-f]{2}")
_ESCAPED = re.compile(
    rb"\\(?:u[0-9A-Fa-f]{4}(?:\\u[0-9A-Fa-f]{4})*|u\{[0-9A-Fa-f]{1,6}\}(?:\\u\{[0-9A-Fa-f]{1,6}\})*"
    rb"|x[0-9A-Fa-f]{2}(?:\\x[0-9A-Fa-f]{2})*|[0-7]{3}(?:\\[0-7]{3})*|\\(?:\\\\)*|.)",
    re.DOTALL,
)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
_REFERENCE = rb"(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|amp|quot|apos|lt|gt);"
_CHARACTER = re.compile(rb"&%b(?:&%b)*" % (_REFERENCE, _REFERENCE))
_QUOTED = re.compile(rb"=(?:\r?\n|3D|[0-9A-F]{2}=[0-9A-F]{2}=[0-9A-F]{2})")
_WIDE = 4
"""One in so many bytes is a NUL where a text is UTF-16."""


def decoded(
    data: bytes, budget: Budget, *, seen: set[int], outer: str
) -> Iterator[tuple[str, bytes]]:
    """Yield what is encoded in bytes, and how it was encoded.

    Args:
        data: Where it is looked for.
        budget: Of the search.
        seen: Hashes of the texts that the search has decoded; they are not decoded again.
        outer: How the bytes themselves were encoded; empty where they were not.

    Raises:
        ExhaustedError: there is more than the budget allows.
    """
    for encoding, read, after in _READINGS:
        if outer in _SPELLINGS and outer not in after:
            continue
        content = read(data)
        if content and content != data:
            budget.decode(len(content))
            yield encoding, content
    for encoding, alphabet, shortest, decode in _RUNS:
        if content := b"\n".join(_runs(data, alphabet, shortest, decode, seen)):
            budget.decode(len(content))
            yield encoding, content


def _unescaped(data: bytes) -> bytes:
    """Return bytes without the escapes of URLs, of JSON and programs, and of HTML."""
    if b"%" in data and _PERCENT.search(data):
        data = unquote_to_bytes(data)
    if b"\\" in data:
        data = _ESCAPED.sub(_escape, data)
    if b"&" in data and b";" in data:
        data = _CHARACTER.sub(
            lambda found: html.unescape(found[0].decode()).encode(errors="replace"), data
        )
    return data


def _escape(found: re.Match[bytes]) -> bytes:  # noqa: PLR0911 - one for each kind
    text = found[0]
    if text.startswith(b"\\\\"):
        return text[::2]
    if len(text) == 2:  # noqa: PLR2004 - a backslash and what it escapes
        return _LETTERS.get(text[1:], text[1:])
    if text.startswith(b"\\u{"):
        points = [int(point, 16) for point in re.findall(rb"\{(\w+)", text)]
        return "".join(chr(min(point, 0x10FFFF)) for point in points).encode(errors="replace")
    if text.startswith(b"\\u"):
        units = bytes.fromhex(text.replace(b"\\u", b"").decode())
        if not any(units[::2]):
            # Bytes that were taken for characters.
            return units[1::2]
        return units.decode("utf-16-be", errors="replace").encode()
    if text.startswith(b"\\x"):
        return bytes.fromhex(text.replace(b"\\x", b"").decode())
    return bytes(int(number, 8) & 0xFF for number in text.split(b"\\")[1:])


def _unquoted(data: bytes) -> bytes:
    return binascii.a2b_qp(data) if b"=" in data and _QUOTED.search(data) else b""


def _narrowed(data: bytes) -> bytes:
    zeros = data.count(0)
    return data.translate(None, b"\0") if zeros and zeros >= len(data) // _WIDE else b""


def _runs(
    data: bytes,
    alphabet: bytes,
    shortest: int,
    decode: Callable[[bytes], Iterator[bytes]],
    seen: set[int],
) -> Iterator[bytes]:
    """Yield what the long runs of an alphabet's characters decode to."""
    # As classes of characters: looking for a run is then looking for a constant.
    classes = bytearray(b" " * 256)
    for byte in alphabet:
        classes[byte] = ord("a")
    kinds = data.translate(bytes(classes))
    run = b"a" * shortest
    at = kinds.find(run)
    while at >= 0:
        end = kinds.find(b" ", at + shortest)
        end = len(kinds) if end < 0 else end
        lines = [data[at:end]]
        while len(lines[-1]) == len(lines[0]) and (place := _next_line(data, kinds, end)):
            line = data[slice(*place)]
            if not _WRAPPED <= len(lines[0]) <= _WIDEST or len(line) > len(lines[0]):
                break
            lines.append(line)
            end = place[1]
        # The last one may be something else, that only follows.
        for text in (b"".join(lines), *(lines[-1:] if len(lines) > 1 else ())):
            if (mark := hash(text)) not in seen:
                seen.add(mark)
                yield from decode(text)
        at = kinds.find(run, end)


def _next_line(data: bytes, kinds: bytes, end: int) -> tuple[int, int] | None:
    """Return where the text of a line is that goes on after one that ends there."""
    start = end
    while start < end + 4 and data[start : start + 1] in {b"\r", b"\n", b" ", b"\t"}:
        start += 1
    if b"\n" not in data[end:start] or kinds[start : start + 1] != b"a":
        return None
    stop = kinds.find(b" ", start)
    return start, len(kinds) if stop < 0 else stop


def _from_hex(text: bytes) -> Iterator[bytes]:
    yield binascii.unhexlify(text[: len(text) & ~1])
    if (shifted := text[1 : _HEAD + 1]) and _is_plausible(
        binascii.unhexlify(shifted[: len(shifted) & ~1])
    ):
        yield binascii.unhexlify(text[1 : len(text) - (len(text) + 1) % 2])


def _from_base64(text: bytes) -> Iterator[bytes]:
    if not text.translate(None, _HEX):
        return
    text = text.translate(_STANDARD)
    yield _of_base64(text)
    # What stands right before it may be of the same characters: a path, a prefix.
    for offset in range(1, 4):
        if _is_plausible(_of_base64(text[offset : offset + _HEAD])):
            yield _of_base64(text[offset:])


def _of_base64(text: bytes) -> bytes:
    whole = len(text) - (1 if len(text) % 4 == 1 else 0)
    return binascii.a2b_base64(text[:whole] + b"==")


def _is_plausible(head: bytes) -> bool:
    """Tell whether something that may be decoded wrongly turns into a text, or is compressed."""
    if any(mark in head for mark in _MARKS) or head.startswith(_SHORT_MARKS):
        return True
    # Its first bytes may come from what stands before it.
    tail = head[len(head) // 2 :]
    return len(tail.translate(None, _PRINTABLE)) * 10 < len(tail)


_SPELLINGS: Final = frozenset({"escaped", "quoted-printable", "UTF-16"})
"""They leave most of a text as it is: to combine all of them would multiply the work."""

_READINGS: Final[tuple[tuple[str, Callable[[bytes], bytes], tuple[str, ...]], ...]] = (
    ("escaped", _unescaped, ("escaped", "UTF-16")),
    ("quoted-printable", _unquoted, ()),
    ("UTF-16", _narrowed, ()),
)
"""Each with the spellings in which it is looked for."""

_RUNS: Final[tuple[tuple[str, bytes, int, Callable[[bytes], Iterator[bytes]]], ...]] = (
    ("hex", _HEX, _SHORTEST_HEX, _from_hex),
    ("base64", _BASE64, _SHORTEST_BASE64, _from_base64),
)
