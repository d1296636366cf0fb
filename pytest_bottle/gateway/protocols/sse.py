"""Server-sent events: written whole, read from bytes that are cut anywhere."""

from __future__ import annotations

import codecs
import json
import math
from typing import Any

_PIECES = 4
_SHORTEST = 24
_LONGEST = 8000
"""Characters."""


def event(data: dict[str, Any], *, name: str | None = None) -> bytes:
    """Return one event; `name` is for APIs that repeat their events' type in it."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def pieces(text: str) -> list[str]:
    """Return a text as a model would stream it: in a few pieces; none of an empty one."""
    size = min(_LONGEST, max(_SHORTEST, math.ceil(len(text) / _PIECES)))
    return [text[start : start + size] for start in range(0, len(text), size)]


class EventReader:
    """Finds the events in a body."""

    def __init__(self) -> None:
        """Begin at the start of a body."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest: list[str] = []
        self._data: list[str] = []

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Return the JSON objects of the events that these bytes complete."""
        return self._take(self._decoder.decode(data))

    def finish(self) -> list[dict[str, Any]]:
        """Return the event that was complete but for its blank line, if there is one."""
        return self._take(self._decoder.decode(b"", final=True) + "\n\n")

    def _take(self, text: str) -> list[dict[str, Any]]:
        """Return the events that this text completes."""
        head, *lines = text.split("\n")
        # Long lines come in many parts: they are put together once.
        self._rest.append(head)
        events = []
        for line in lines:
            found = self._line("".join(self._rest).removesuffix("\r"))
            self._rest = [line]
            if found is not None:
                events.append(found)
        return events

    def _line(self, line: str) -> dict[str, Any] | None:
        """Take one line; return the event that it ends."""
        if not line:
            return self._event()
        if line.startswith("data:"):
            self._data.append(line[5:].removeprefix(" "))
        return None

    def _event(self) -> dict[str, Any] | None:
        """Return the event that a blank line has ended."""
        data, self._data = "\n".join(self._data), []
        try:
            value = json.loads(data) if data else None
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


class BodyReader:
    """Finds the JSON objects in an answer: its events, or the one that it is as a whole."""

    def __init__(self, *, stream: bool) -> None:
        """Begin; an answer that begins with `{` is no stream, whatever was asked for."""
        self._stream: bool | None = None if stream else False
        self._whole = bytearray()
        self._events = EventReader()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Return the objects that these bytes complete."""
        if self._stream is None:
            data = bytes(self._whole) + data
            self._whole.clear()
            if data.strip():
                self._stream = not data.lstrip().startswith(b"{")
        if self._stream:
            return self._events.feed(data)
        self._whole += data
        return []

    def finish(self) -> list[dict[str, Any]]:
        """Return the objects that the answer's end completes."""
        if self._stream:
            return self._events.finish()
        try:
            value = json.loads(self._whole.decode(errors="replace"))
        except (ValueError, RecursionError):
            return []
        return [value] if isinstance(value, dict) else []
