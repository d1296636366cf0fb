"""The exchanges of a run as the door keeps them: encoded once, and within a bound of memory."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.gateway.encoding import exchange_to_json
from pytest_bottle.gateway.encoding import without_body

if TYPE_CHECKING:
    from pytest_bottle.gateway.values import Exchange

MAX_BYTES: Final = 256 * 2**20
"""What all exchanges together may take."""

MAX_CLOSED: Final = 1000
"""Closed bottles that are remembered."""

PAGE_BYTES: Final = 8 * 2**20
"""About how much one page of exchanges takes."""


def encode_exchange(exchange: Exchange) -> bytes:
    """Return an exchange as one line of JSON, in ASCII."""
    return json.dumps(exchange_to_json(exchange)).encode()


class History:
    """The exchanges of one bottle, in the order in which they ended."""

    def __init__(self) -> None:
        """Begin with none."""
        self._records: list[bytes] = []
        self._small: deque[tuple[int, Exchange]] = deque()
        """What stands for those that still have their conversations, the oldest first."""
        self.size = 0
        """Bytes."""

    def add(self, exchange: Exchange, record: bytes) -> None:
        """Take in an exchange, and what `encode_exchange` made of it."""
        self._small.append((len(self._records), without_body(exchange)))
        self._records.append(record)
        self.size += len(record)

    def page(self, since: int) -> tuple[list[bytes], bool]:
        """Return records from a number on, as many as fit, and whether there are more."""
        size = 0
        for end in range(since, len(self._records)):
            size += len(self._records[end])
            if size > PAGE_BYTES and end > since:
                return self._records[since:end], True
        return self._records[since:], False

    def shrink(self) -> bool:
        """Drop the oldest conversation; whether there was one."""
        if not self._small:
            return False
        number, small = self._small.popleft()
        record = encode_exchange(small)
        self.size -= len(self._records[number]) - len(record)
        self._records[number] = record
        return True


class Archive:
    """The histories of all bottles; the oldest of closed ones are forgotten first."""

    def __init__(self, max_bytes: int = MAX_BYTES, max_closed: int = MAX_CLOSED) -> None:
        """Begin with none."""
        self._max_bytes = max_bytes
        self._max_closed = max_closed
        self._open: dict[str, History] = {}
        self._closed: dict[str, History] = {}
        self._size = 0

    def open(self, bottle: str) -> None:
        """Begin a bottle's history."""
        self._forget(bottle)
        self._open[bottle] = History()

    def close(self, bottle: str) -> None:
        """Say that nothing will be added to a bottle's history."""
        self._closed[bottle] = self._open.pop(bottle)
        self._keep_within_bounds()

    def add(self, bottle: str, exchange: Exchange, record: bytes) -> None:
        """Take in an exchange; one of a bottle that is forgotten is lost."""
        history = self._open.get(bottle) or self._closed.get(bottle)
        if history is not None:
            history.add(exchange, record)
            self._size += len(record)
        self._keep_within_bounds()

    def page(self, bottle: str, since: int) -> tuple[list[bytes], bool]:
        """Return a part of a bottle's history; see `History.page`.

        Raises:
            KeyError: there is none, or it was forgotten.
        """
        history = self._open.get(bottle) or self._closed[bottle]
        return history.page(since)

    def _keep_within_bounds(self) -> None:
        while len(self._closed) > self._max_closed:
            self._forget(next(iter(self._closed)))
        while self._size > self._max_bytes and self._closed:
            self._forget(next(iter(self._closed)))
        for history in self._open.values():
            before = history.size
            while self._size - before + history.size > self._max_bytes and history.shrink():
                pass
            self._size -= before - history.size

    def _forget(self, bottle: str) -> None:
        for histories in (self._open, self._closed):
            history = histories.pop(bottle, None)
            self._size -= 0 if history is None else history.size
