"""Searches what a bottle sent in several requests as if it had been one text."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING
from typing import Final

if TYPE_CHECKING:
    from pytest_bottle.gateway.dlp.scanner import Finding
    from pytest_bottle.gateway.dlp.scanner import Scanner

_PLACES: Final = 512
"""Hosts, with a part of the request each, for which it is remembered what was sent there last."""

_PIECES: Final = 64
"""Requests that a secret may be spread over."""

_PIECE: Final = 2**11
"""Bytes of a request, at its beginning and at its end, that may be a piece of a secret."""

_TEXT: Final = 2**14
"""Bytes that are searched for each request."""

_BETWEEN: Final = re.compile(rb"[^A-Za-z0-9_-]+")


class Joining:
    """What one bottle sent last, by place."""

    def __init__(self, scanner: Scanner) -> None:
        """Begin with nothing; `scanner` knows whole secrets."""
        self._scanner = scanner
        self._sent: dict[tuple[str, str], deque[bytes]] = {}

    def find(self, host: str, part: str, data: bytes) -> Finding | None:
        """Return the secret that this completes, after what was sent there before.

        Pieces may stand alone or in what is the same each time, as in `/?part=1&word=...`: the
        words that differ are joined by their places.

        Args:
            host: Where it goes.
            part: What of the request it is, such as `body`.
            data: What it is.
        """
        if not data:
            return None
        place = host, part
        if place not in self._sent and len(self._sent) >= _PLACES:
            del self._sent[next(iter(self._sent))]
        sent = self._sent.setdefault(place, deque(maxlen=_PIECES))
        sent.append(data if len(data) <= 2 * _PIECE else data[:_PIECE] + data[-_PIECE:])
        if len(sent) == 1:
            return None
        text = b"\n".join((b"".join(sent)[-_TEXT:], *_differing(sent)))
        found = next(iter(self._scanner.scan(text, "several requests")), None)
        if found is not None:
            sent.clear()
        return found


def _differing(sent: deque[bytes]) -> list[bytes]:
    """Return the words that differ among the last requests of one form, joined by their places."""
    words = [_BETWEEN.split(piece) for piece in sent]
    alike = [row for row in words if len(row) == len(words[-1])]
    columns = [column for column in zip(*alike, strict=True) if len(set(column)) > 1]
    return [b"".join(column)[-_TEXT:] for column in columns[:_PIECES]]
