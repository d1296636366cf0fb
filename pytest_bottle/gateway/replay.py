"""Answers requests from a cassette, and says what is wrong where it has no answer."""

from __future__ import annotations

import difflib
import json
import re
import shlex
from collections import defaultdict
from collections import deque
from typing import TYPE_CHECKING

from pytest_bottle.errors import UnexpectedRequestError
from pytest_bottle.gateway.cassette import Cassette
from pytest_bottle.gateway.values import HttpAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from collections.abc import Iterator
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_bottle.gateway.transcribing import Episode
    from pytest_bottle.gateway.transcribing import RecordedAnswer
    from pytest_bottle.gateway.transcribing import RecordedRequest
    from pytest_bottle.gateway.transcribing import Transcriber
    from pytest_bottle.gateway.values import HttpRequest
    from pytest_bottle.gateway.values import ModelRequest

_SHOWN_LINES = 60
_SHOWN_WIDTH = 300
_EVENT_END = re.compile(rb"(?:\r\n\r\n|\n\n|\r\r)")
_SENTENCE_END = re.compile(r"(?<=[.!?;]) ")


class Playback:
    """Where the replay of a cassette is: what was asked for already, and what was not."""

    def __init__(self, cassette: Cassette) -> None:
        """Begin at the beginning."""
        self._cassette = cassette
        self._left: defaultdict[str, deque[Episode]] = defaultdict(deque)
        self._known = {episode.request.key: 0 for episode in cassette.episodes}
        self._agents: set[str] = set()
        for episode in cassette.episodes:
            self._left[episode.request.key].append(episode)
            self._known[episode.request.key] += 1
        self._count = len(cassette.episodes)
        self._recorded_with = {episode.request.agent for episode in cassette.episodes}

    def take(self, request: RecordedRequest) -> RecordedAnswer | None:
        """Return the next answer to a request, if there is one left: each is given once."""
        self._agents.add(request.agent)
        left = self._left.get(request.key)
        return left.popleft().answer if left else None

    def miss(self, request: RecordedRequest, asked: ModelRequest) -> UnexpectedRequestError:
        """Return what is wrong with a request that has no answer."""
        again = f"pytest --bottle-model=record {shlex.quote(self._cassette.test or '<the test>')}"
        remedy = (
            f"Where that is as it should be, record the test anew: {again}; or only what is "
            "missing: --bottle-model=new-episodes."
        )
        what = f"{self._cassette.path} has no answer to request {asked.number} ({request.path})"
        if times := self._known.get(request.key):
            often = "once" if times == 1 else f"{times} times"
            return UnexpectedRequestError(
                f"{what}: the same was asked {often} when it was recorded, and is asked again.",
                remedy=remedy,
            )
        if not self._cassette.episodes:
            return UnexpectedRequestError(f"{what}, or to any other.", remedy=remedy)
        left = {id(episode) for waiting in self._left.values() for episode in waiting}
        recorded = [(each.request, id(each) in left) for each in self._cassette.episodes]
        number, detail = _nearest(request, recorded)
        return UnexpectedRequestError(
            f"{what}. The nearest that was recorded is episode {number}.",
            remedy=remedy,
            detail=detail,
        )

    def drift(self) -> list[str]:
        """Return how a run differed from the recording, a sentence each."""
        lines = []
        left = {id(episode) for waiting in self._left.values() for episode in waiting}
        unasked = [n for n, each in enumerate(self._cassette.episodes) if id(each) in left]
        if unasked:
            numbers = ", ".join(map(str, unasked))
            lines.append(
                f"{self._cassette.path}: {len(unasked)} of {self._count} recorded answers were "
                f"not asked for (episodes {numbers})."
            )
        if self._recorded_with and (others := self._agents - self._recorded_with):
            lines.append(
                f"{self._cassette.path} was recorded with {_listed(self._recorded_with)}, and is "
                f"replayed with {_listed(others)}."
            )
        return lines


class ReplaySource:
    """Answers from a cassette only; nothing goes out."""

    def __init__(self, path: Path, transcriber: Transcriber, *, test: str = "") -> None:
        """Take where the cassette is. It is read when something is asked for the first time.

        A test whose agent asks nothing needs none.
        """
        self._path = path
        self._test = test
        self._transcriber = transcriber
        self._playback: Playback | None = None

    async def answer(self, request: ModelRequest, http: HttpRequest) -> HttpAnswer:
        """Return the recorded answer to a request.

        Raises:
            CassetteError: there is no cassette, or it cannot be used.
            UnexpectedRequestError: it has no answer to this.
        """
        if self._playback is None:
            self._playback = Playback(Cassette.load(self._path, test=self._test))
        asked = self._transcriber.request(request, http)
        answer = self._playback.take(asked)
        if answer is None:
            raise self._playback.miss(asked, request)
        return replayed(answer)

    def drift(self) -> list[str]:
        """Return how this run differed from the recording, a sentence each."""
        return [] if self._playback is None else self._playback.drift()

    async def close(self) -> None:
        """Do nothing: nothing is being written."""


def replayed(answer: RecordedAnswer) -> HttpAnswer:
    """Return a recorded answer as it goes to a guest: an event at a time, without waiting."""
    return HttpAnswer(
        status=answer.status,
        headers=dict(answer.headers),
        body=_events(answer.body),
        origin="cassette",
    )


async def _events(body: bytes) -> AsyncIterator[bytes]:
    start = 0
    for end in _EVENT_END.finditer(body):
        yield body[start : end.end()]
        start = end.end()
    if start < len(body):
        yield body[start:]


def _nearest(
    request: RecordedRequest, recorded: Sequence[tuple[RecordedRequest, bool]]
) -> tuple[int, str]:
    """Return the number of the recorded request that is most like another, and the difference.

    Args:
        request: The other one.
        recorded: Each with whether its answer is still to be asked for: of two that are equally
            like it, such a one is meant.
    """
    lines = list(_readable(request))
    best = ((-1.0, False), 0, lines)
    for number, (other, is_left) in enumerate(recorded):
        theirs = list(_readable(other))
        likeness = difflib.SequenceMatcher(None, theirs, lines).quick_ratio()
        if (likeness, is_left) > best[0]:
            best = ((likeness, is_left), number, theirs)
    _, number, theirs = best
    diff = difflib.unified_diff(
        theirs, lines, f"recorded, episode {number}", "asked", n=2, lineterm=""
    )
    shown = [_short(line) for line in diff]
    if len(shown) > _SHOWN_LINES:
        more = len(shown) - _SHOWN_LINES
        shown = [*shown[:_SHOWN_LINES], f"... and {more} lines more"]
    return number, "\n".join(shown)


def _readable(request: RecordedRequest) -> Iterator[str]:
    """Yield a request in lines of about a sentence each, so that a diff shows what changed."""
    yield f"{request.method} {request.path.partition('?')[0]}"
    for line in json.dumps(request.body, indent=1, ensure_ascii=False).splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        # The text's own lines: a break is a backslash and an n here, unless the backslash is one.
        broken = re.sub(r"(?<!\\)((?:\\\\)*)\\n", r"\1\n", line.strip())
        for part in broken.split("\n"):
            for sentence in _SENTENCE_END.split(part):
                yield indent + sentence


def _short(line: str) -> str:
    return line if len(line) <= _SHOWN_WIDTH else f"{line[:_SHOWN_WIDTH]}..."


def _listed(agents: set[str]) -> str:
    return ", ".join(sorted(agent or "an unknown agent" for agent in agents))
