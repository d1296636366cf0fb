"""Git's packet lines: what a push's report says, and what the gate has to say in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Mapping

FLUSH: Final = b"0000"
REPORT_LIMIT: Final = 2**22
"""Bytes of a push's report."""

_HEAD: Final = 4
_LARGEST: Final = 65515
_BAND_REPORT: Final = 1
_BAND_PROGRESS: Final = 2


def packet(data: bytes) -> bytes:
    """Return a packet line."""
    return b"%04x%s" % (len(data) + _HEAD, data)


def split(data: bytes) -> Iterator[bytes]:
    """Yield what is in whole packet lines, nothing where one ends; stops at a broken one."""
    position = 0
    while position + _HEAD <= len(data):
        try:
            size = int(data[position : position + _HEAD], 16)
        except ValueError:
            return
        end = position + max(size, _HEAD)
        if end > len(data):
            return
        yield data[position + _HEAD : end]
        position = end


class PushReport:
    """Takes a push's answer apart: progress passes by at once, the report is kept for its end."""

    def __init__(self) -> None:
        """Begin."""
        self._buffer = b""
        self._report = bytearray()
        self._banded: bool | None = None

    def feed(self, data: bytes) -> bytes:
        """Take a part of the answer; return what may be passed on at once.

        Raises:
            ValueError: it is not the answer of a `receive-pack`.
        """
        self._buffer += data
        passed = b""
        while len(self._buffer) >= _HEAD:
            size = max(int(self._buffer[:_HEAD], 16), _HEAD)
            if len(self._buffer) < size:
                break
            line, self._buffer = self._buffer[:size], self._buffer[size:]
            if self._banded is None:
                self._banded = size > _HEAD and line[_HEAD] in {1, 2, 3}
            if not self._banded:
                self._report += line
            elif size == _HEAD:
                continue  # The end; there is one more when the report has been added.
            elif line[_HEAD] == _BAND_REPORT:
                self._report += line[_HEAD + 1 :]
            else:
                passed += line
            if len(self._report) > REPORT_LIMIT:
                message = "the report is too long"
                raise ValueError(message)
        return passed

    @property
    def unpacked(self) -> str:
        """What became of the pack: `ok`, or why it was refused; empty where nothing was said."""
        for line in split(bytes(self._report)):
            if line.startswith(b"unpack "):
                return line[7:].decode(errors="replace").strip()
        return ""

    @property
    def refs(self) -> dict[str, str]:
        """What became of each ref: empty where it was updated, else why it was not."""
        found = {}
        for line in split(bytes(self._report)):
            kind, _, rest = line.decode(errors="surrogateescape").strip("\n").partition(" ")
            if kind in {"ok", "ng"}:
                ref, _, reason = rest.partition(" ")
                found[ref] = (reason or "refused") if kind == "ng" else ""
        return found

    def finish(self, reasons: Mapping[str, str]) -> bytes:
        """Return the report, with better reasons for refs that were not updated, and the end."""
        lines = b""
        for line in split(bytes(self._report)):
            kind, _, rest = line.decode(errors="surrogateescape").strip("\n").partition(" ")
            ref = rest.partition(" ")[0]
            if kind == "ng" and ref in reasons:
                said = f"ng {ref} {one_line(reasons[ref])}\n"
                lines += packet(said.encode(errors="surrogateescape"))
            else:
                lines += packet(line) if line else b""
        if self._banded is None:
            return self._buffer
        if not self._banded:
            return lines + FLUSH + self._buffer
        lines += FLUSH if lines else b""
        whole = [lines[at : at + _LARGEST] for at in range(0, len(lines), _LARGEST)]
        banded = b"".join(packet(bytes([_BAND_REPORT]) + part) for part in whole)
        return banded + FLUSH + self._buffer


def one_line(text: str) -> str:
    """Return a text without what would break out of its line."""
    return "".join(one if one.isprintable() else "?" for one in text)
