"""Bounds the work of one search, so that no body can keep a proxy busy."""

from __future__ import annotations

from typing import Final

UNPACKED: Final = 32 * 1024 * 1024
"""Bytes up to which compressed content is unpacked in one search."""

DECODED: Final = 64 * 1024 * 1024
"""Bytes up to which encoded content is decoded in one search, beside what its size allows."""

_PER_BYTE = 12
_STREAMS = 20_000
"""Places that look like the start of something compressed."""

_CLOSELY = 1024 * 1024
_CLOSELY_PER_BYTE = 1


class ExhaustedError(Exception):
    """There is more to decode than the budget allows."""


class Budget:
    """What one search may still decode."""

    def __init__(self, size: int) -> None:
        """Allow for something of so many bytes."""
        self._unpacked = UNPACKED
        self._decoded = DECODED + _PER_BYTE * size
        self._streams = _STREAMS

    @property
    def unpackable(self) -> int:
        """Bytes that may still be unpacked."""
        return self._unpacked

    def unpack(self, size: int) -> None:
        """Count bytes that were unpacked.

        Raises:
            ExhaustedError: they are too many.
        """
        self._unpacked -= size
        if self._unpacked < 0:
            message = f"more than {UNPACKED // 2**20} MiB when unpacked"
            raise ExhaustedError(message)

    def decode(self, size: int) -> None:
        """Count bytes that were decoded.

        Raises:
            ExhaustedError: they are too many.
        """
        self._decoded -= size
        if self._decoded < 0:
            message = f"more than {DECODED // 2**20} MiB, and {_PER_BYTE} times its size, decoded"
            raise ExhaustedError(message)

    def open(self) -> None:
        """Count a place that looks like the start of something compressed.

        Raises:
            ExhaustedError: they are too many.
        """
        self._streams -= 1
        if self._streams < 0:
            message = f"more than {_STREAMS} compressed parts"
            raise ExhaustedError(message)


class Closeness:
    """How much of some bytes may be looked at closely, which takes long."""

    def __init__(self, size: int) -> None:
        """Allow for so many bytes."""
        self._left = _CLOSELY + _CLOSELY_PER_BYTE * size

    def look_at(self, size: int) -> None:
        """Count bytes that are looked at.

        Raises:
            ExhaustedError: they are too many.
        """
        self._left -= size
        if self._left < 0:
            message = "too much that starts like a secret"
            raise ExhaustedError(message)
