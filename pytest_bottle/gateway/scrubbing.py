"""Takes secrets out of what is kept of a request and of its answer."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.redaction import forms

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Mapping

_CREDENTIALS = ("authorization", "proxy-authorization", "x-api-key", "api-key", "cookie")
_SHORTEST_CREDENTIAL = 8
_SHORTEST_SECRET = 4
"""Characters; a shorter value is no secret, and would be found in any text."""

_STREAMED = frozenset(
    {
        "arguments",
        "content",
        "delta",
        "input",
        "partial_json",
        "reasoning_content",
        "refusal",
        "text",
        "thinking",
    }
)
"""The keys under which a stream's events carry the pieces of a longer text."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A piece of a streamed text: in which line, where in its JSON, and what it says."""

    line: int
    path: tuple[str | int, ...]
    text: str


class Scrubber:
    """Replaces the values of secrets, however they are encoded, by `[secret NAME]`."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        """Take the values by their names; one of under four characters is passed over."""
        self._secrets = dict(secrets)
        markers = {
            form: f"[secret {name}]"
            for name, value in secrets.items()
            if len(value) >= _SHORTEST_SECRET
            for form in forms(value)
        }
        # Longest first: one form may hold another.
        self._markers = dict(sorted(markers.items(), key=lambda item: -len(item[0])))
        self._pattern = re.compile("|".join(map(re.escape, self._markers)) or r"(?!)")

    def knowing(self, more: Mapping[str, str]) -> Scrubber:
        """Return one that knows these secrets as well."""
        values = set(self._secrets.values())
        new = {name: value for name, value in more.items() if value not in values}
        return Scrubber({**new, **self._secrets}) if new else self

    def text(self, text: str) -> str:
        """Return a text without the secrets."""
        # Looking for each is much faster than the pattern, and most texts have none.
        if not any(form in text for form in self._markers):
            return text
        return self._pattern.sub(lambda found: self._markers[found[0]], text)

    def json(self, value: Any) -> Any:  # noqa: ANN401 - any JSON
        """Return a JSON value whose texts, keys included, are without the secrets."""
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.text(key): self.json(each) for key, each in value.items()}
            case list():
                return [self.json(each) for each in value]
            case _:
                return value

    def body(self, body: bytes) -> bytes:
        """Return an answer's body without the secrets.

        A stream brings a text in pieces. A secret that is spread over several is found as well:
        its marker is put into the first of them, and the others lose their part of it.
        """
        text = self.text(body.decode(errors="surrogateescape"))
        if self._markers:
            text = self._over_events(text)
        return text.encode(errors="surrogateescape")

    def _over_events(self, text: str) -> str:
        lines = text.split("\n")
        streams: dict[tuple[Any, ...], list[_Piece]] = {}
        events: dict[int, Any] = {}
        for number, line in enumerate(lines):
            event = _event(line)
            if event is None:
                continue
            events[number] = event
            kind = tuple(map(event.get, ("type", "index", "output_index", "item_id")))
            for path, place, said in _pieces(event, (), ()):
                streams.setdefault((*kind, place), []).append(_Piece(number, path, said))
        changed: set[int] = set()
        for pieces in streams.values():
            for piece, replaced in self._over_pieces(pieces):
                _put(events[piece.line], piece.path, replaced)
                changed.add(piece.line)
        for number in changed:
            end = "\r" if lines[number].endswith("\r") else ""
            written = json.dumps(events[number], ensure_ascii=False, separators=(",", ":"))
            lines[number] = f"data: {written}{end}"
        return "\n".join(lines)

    def _over_pieces(self, pieces: list[_Piece]) -> Iterator[tuple[_Piece, str]]:
        """Yield the pieces that had a part of a secret, and what they say without it."""
        whole = "".join(piece.text for piece in pieces)
        if self.text(whole) == whole:
            return
        secrets = [
            (*found.span(), self._markers[found[0]]) for found in self._pattern.finditer(whole)
        ]
        offset = 0
        for piece in pieces:
            end = offset + len(piece.text)
            kept, position = "", offset
            for first, last, marker in secrets:
                if last <= offset or first >= end:
                    continue
                kept += whole[position : max(first, position)]
                kept += marker if first >= offset else ""
                position = min(last, end)
            kept += whole[position:end]
            if kept != piece.text:
                yield piece, kept
            offset = end


def credentials(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what a request's headers say to prove who sends it, by a name for each."""
    found = {}
    for name in _CREDENTIALS:
        value = headers.get(name, "").split(" ", 1)[-1].strip()
        if len(value) >= _SHORTEST_CREDENTIAL:
            found[name] = value
    return found


def _event(line: str) -> dict[str, Any] | None:
    if not line.startswith("data:"):
        return None
    try:
        event = json.loads(line.removeprefix("data:"))
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _pieces(
    value: Any,  # noqa: ANN401 - any JSON
    path: tuple[str | int, ...],
    place: tuple[Any, ...],
) -> Iterator[tuple[tuple[str | int, ...], tuple[Any, ...], str]]:
    """Yield the texts of an event: where each is, which stream it belongs to, and itself.

    Parallel calls are told apart by the `index` that an item has, not by its place in its list.
    """
    match value:
        case dict():
            for key, each in value.items():
                if isinstance(each, str):
                    if key in _STREAMED:
                        yield (*path, key), (*place, key), each
                else:
                    yield from _pieces(each, (*path, key), (*place, key))
        case list():
            for number, each in enumerate(value):
                index = each.get("index", number) if isinstance(each, dict) else number
                yield from _pieces(each, (*path, number), (*place, index))


def _put(event: Any, path: tuple[str | int, ...], text: str) -> None:  # noqa: ANN401 - any JSON
    for step in path[:-1]:
        event = event[step]
    event[path[-1]] = text
