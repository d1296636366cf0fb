"""Searches what comes in pieces, so that no secret hides at their borders."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.gateway.dlp.budget import UNPACKED
from pytest_bottle.gateway.dlp.finding import UNSEARCHABLE
from pytest_bottle.gateway.dlp.finding import Finding

if TYPE_CHECKING:
    from typing import Any

    from pytest_bottle.gateway.dlp.scanner import Scanner

WINDOW: Final = 4 * 1024 * 1024
"""Bytes within which something encoded as a whole, such as an archive, is recognised."""

_WIDEST = WINDOW // 4

_SMALL = 4096
"""Bytes of news for which it is worth decoding them."""

_LEAST_OVERLAP = 2048
_MOST_OVERLAP = 64 * 1024
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_STARTS = (b"\x1f\x8b", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")
_RATIO = 256


class StreamScan:
    """One search through a stream.

    Each piece is searched together with what came before it, so that a declared secret is found
    before its last byte is passed on, in each of its forms that take no decoding. What has to be
    decoded is found after at most 4 KiB more, or at the end; what has to be unpacked, or is wider
    than 64 KiB, after at most as much again as there was before, within any 1 MiB. A stream that is
    compressed from its start (gzip, zlib) is unpacked as it comes, however long it is, up to 32 MiB
    and 256 times its size.
    """

    def __init__(self, scanner: Scanner, where: str, *, depth: int = 0) -> None:
        """Start one.

        Args:
            scanner: What to look for.
            where: What the stream is, for the findings.
            depth: How often it was unpacked already.
        """
        self._scanner = scanner
        self._where = where
        self._depth = depth
        self._overlap = min(max(_LEAST_OVERLAP, scanner.declared.longest), _MOST_OVERLAP)
        self._kept = bytearray()
        self._fresh = 0
        """Bytes at the end of what is kept that were not decoded yet."""
        self._due = _SMALL
        """Bytes until everything that is kept is searched at once."""
        self._received = 0
        self._reported: set[tuple[str, str]] = set()
        self._inner: StreamScan | None = None
        self._unpacking: Any = None
        self._unpacked = 0

    def feed(self, chunk: bytes) -> list[Finding]:
        """Return what the stream holds with this piece, and did not hold before it."""
        start = self._received == 0
        self._kept += chunk
        self._received += len(chunk)
        self._fresh += len(chunk)
        self._due -= len(chunk)
        found: list[Finding] = []
        if self._fresh < _SMALL:
            found += self._scanner.glance(self._end(len(chunk)), self._where)
        else:
            found += self._decode_fresh()
        if self._due <= 0:
            found += self._scanner.scan(bytes(self._kept), self._where)
            self._due = min(len(self._kept), WINDOW - _WIDEST)
            if len(self._kept) >= WINDOW:
                del self._kept[:-_WIDEST]
        if (start and chunk[:2] in _STARTS) or self._unpacking:
            found += self._unpack(chunk)
        return self._new(found)

    def finish(self) -> list[Finding]:
        """Return what only the end of the stream shows."""
        found = self._scanner.scan(bytes(self._kept), self._where)
        if self._inner:
            found += self._inner.finish()
        return self._new(found)

    def _end(self, size: int) -> bytes:
        return bytes(self._kept[-(size + self._overlap) :])

    def _decode_fresh(self) -> list[Finding]:
        fresh, self._fresh = self._fresh, 0
        return self._scanner.scan(self._end(fresh), self._where)

    def _unpack(self, chunk: bytes) -> list[Finding]:
        if self._unpacking is None:
            if self._depth == 3:  # noqa: PLR2004 - as a search in one piece
                return []
            self._unpacking = zlib.decompressobj(_GZIP_OR_ZLIB)
            self._inner = StreamScan(self._scanner, self._where, depth=self._depth + 1)
        assert self._inner is not None  # noqa: S101 - made together with the other
        room = UNPACKED + _RATIO * self._received - self._unpacked
        try:
            content = self._unpacking.decompress(chunk, min(UNPACKED, room))
        except zlib.error:
            self._unpacking = False
            return []
        self._unpacked += len(content)
        if self._unpacking.unconsumed_tail:
            self._unpacking = False
            evidence = f"more than {UNPACKED >> 20} MiB when unpacked"
            return [Finding(UNSEARCHABLE, self._where, evidence)]
        return self._inner.feed(content)

    def _new(self, findings: list[Finding]) -> list[Finding]:
        new = []
        for finding in findings:
            if finding.mark not in self._reported:
                self._reported.add(finding.mark)
                new.append(replace(finding, line=None))
        return new
