"""A scripted model: picks the turn that a request is answered with."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.errors import UnexpectedRequestError
from pytest_bottle.gateway import protocols
from pytest_bottle.gateway.authoring import TurnFailedError
from pytest_bottle.gateway.protocols.base import latest_parts
from pytest_bottle.gateway.protocols.base import opening_text
from pytest_bottle.gateway.turns import Answer
from pytest_bottle.gateway.turns import Ask
from pytest_bottle.gateway.turns import Delay
from pytest_bottle.gateway.turns import Failure
from pytest_bottle.gateway.values import HttpAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from collections.abc import Awaitable
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.gateway.protocols.base import Part
    from pytest_bottle.gateway.turns import Script
    from pytest_bottle.gateway.turns import Step
    from pytest_bottle.gateway.turns import Turn
    from pytest_bottle.gateway.values import HttpRequest
    from pytest_bottle.gateway.values import ModelRequest

EXCERPT = 2000
"""How many characters of a request an error shows."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What one try of a turn's request gets."""

    wait: float
    """Seconds."""
    steps: tuple[Step, ...]
    """As they are in the script, the delays with them."""
    answer: Turn | Failure | Ask


class ScriptSource:
    """Answers from scripts.

    The turn is the number of answers that the conversation holds already, less those that it held
    before the script: a retry gets the same answer again, and a resumed conversation goes on where
    it was. Errors and delays are used up:
    try k of a turn gets the k-th of what stands before its answer.
    """

    def __init__(
        self, scripts: Iterable[Script], ask: Callable[[int, ModelRequest], Awaitable[Answer]]
    ) -> None:
        """Take the scripts.

        Args:
            scripts: as `replace` takes them.
            ask: asks the test's process what the callable of this number answers. Raises
                TurnFailedError where the callable fails.
        """
        self._ask = ask
        self.replace(scripts)

    def replace(self, scripts: Iterable[Script]) -> None:
        """Take other scripts, and begin them anew.

        A script with `match` is for the requests that it matches, the first that does. The last
        one without is for all others.
        """
        self._scripts = [_Playing(script) for script in scripts]

    def unused(self) -> list[str]:
        """Return what the scripts hold and no request has asked for, in words."""
        return [line for playing in self._scripts for line in playing.unused()]

    async def answer(self, request: ModelRequest, http: HttpRequest) -> HttpAnswer:  # noqa: ARG002 - a Source's
        """Return the answer to a request.

        Raises:
            UnexpectedRequestError: no script has one, or a callable failed.
        """
        if request.api == "count_tokens":
            return _json_answer(200, protocols.render_count(request))
        playing = self._playing(request)
        attempt = playing.next(request)
        if attempt.wait:
            await asyncio.sleep(attempt.wait)
        answer: Answer | Ask = attempt.answer
        if isinstance(answer, Ask):
            try:
                answer = await self._ask(answer.id, request)
            except TurnFailedError as error:
                raise UnexpectedRequestError(
                    f"turn {request.turn + 1} of the script is a callable that failed. {error}",
                    detail=excerpt(request),
                ) from error
        if isinstance(answer, Failure):
            return _error_answer(answer, request)
        if request.stream:
            events = protocols.render_events(answer, request)
            return HttpAnswer(
                status=200,
                headers={"content-type": "text/event-stream; charset=utf-8"},
                body=_each(events),
                origin="script",
            )
        return _json_answer(200, protocols.render(answer, request))

    async def close(self) -> None:
        """Do nothing: a script has nothing to finish."""

    def _playing(self, request: ModelRequest) -> _Playing:
        """Return the script for a request."""
        text = request.system + "\n" + opening_text(_parts(request))
        default = None
        for playing in self._scripts:
            if playing.script.match is None:
                default = playing
            elif playing.script.match in text:
                return playing
        if default is None:
            raise UnexpectedRequestError(
                f"the agent asked its model ({request.model}, request {request.number}), and the "
                "test has no script for it.",
                remedy="Call bottle.model.script(say(...), ...) before the agent runs.",
                detail=excerpt(request),
            )
        return default


class _Playing:
    """One script, and what was asked of it."""

    def __init__(self, script: Script) -> None:
        """Begin the script."""
        self.script = script
        self._turns = _turns(script.steps)
        self._tries: Counter[int] = Counter()
        self._first: int | None = None

    def next(self, request: ModelRequest) -> _Attempt:
        """Return what this try of the request's turn gets."""
        # A conversation that is resumed may have begun before the script.
        if self._first is None or request.turn < self._first:
            self._first = request.turn
        turn = request.turn - self._first
        attempts = self._turns[turn] if turn < len(self._turns) else []
        tried = self._tries[turn]
        if tried < len(attempts):
            self._tries[turn] += 1
            return attempts[tried]
        if attempts and not isinstance(attempts[-1].answer, Failure):
            return replace(attempts[-1], wait=0.0)
        raise UnexpectedRequestError(
            f"the agent asked for turn {turn + 1} of {self._name}, which has {len(self._turns)}.",
            remedy=f"It has no answer for a retry after {attempts[-1].answer}: put one behind it."
            if attempts
            else "Add the turn to it, or find out why the agent went on.",
            detail=excerpt(request),
        )

    def unused(self) -> list[str]:
        """Return what no request has asked for, a line each turn."""
        lines = []
        for turn, attempts in enumerate(self._turns):
            left = [
                str(step) for attempt in attempts[self._tries[turn] :] for step in attempt.steps
            ]
            if left:
                lines.append(f"turn {turn + 1} of {self._name}: {', '.join(left)}")
        return lines

    @property
    def _name(self) -> str:
        """What errors call the script."""
        match = self.script.match
        return "the script" if match is None else f"the script for {match!r}"


def excerpt(request: ModelRequest) -> str:
    """Return what the user and the tools said since the last answer, shortened."""
    lines = []
    for part in latest_parts(_parts(request)):
        speaker = "user" if part.role == "user" else f"result of {part.call or 'a tool'}"
        lines.append(f"{speaker}{' (an error)' if part.failed else ''}: {part.text}")
    text = "\n".join(lines)
    if len(text) > EXCERPT:
        left_out = f"\n[... {len(text) - EXCERPT} characters ...]\n"
        # What was asked stands at the end: agents put their reminders first.
        begin = EXCERPT // 4
        end = EXCERPT - begin - len(left_out)
        text = text[:begin] + left_out + text[-end:]
    return text


def _turns(steps: Sequence[Step]) -> list[list[_Attempt]]:
    """Return for each turn of a script what its tries get; the last one may be repeated."""
    turns: list[list[_Attempt]] = []
    attempts: list[_Attempt] = []
    waiting: list[Step] = []
    for step in steps:
        waiting.append(step)
        if isinstance(step, Delay):
            continue
        wait = sum(before.seconds for before in waiting if isinstance(before, Delay))
        attempts.append(_Attempt(wait, tuple(waiting), step))
        waiting = []
        if not isinstance(step, Failure):
            turns.append(attempts)
            attempts = []
    return [*turns, attempts] if attempts else turns


def _parts(request: ModelRequest) -> list[Part]:
    """Return the conversation of a request."""
    return protocols.protocol(request.api).read_parts(request.body)


def _error_answer(failure: Failure, request: ModelRequest) -> HttpAnswer:
    """Return an error in the form of the request's API."""
    body = protocols.render_error(request.api, failure.status, failure.kind, failure.message)
    wait = failure.retry_after
    return _json_answer(failure.status, body, {} if wait is None else {"retry-after": f"{wait:g}"})


def _json_answer(
    status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> HttpAnswer:
    """Return an answer that is one JSON object."""
    return HttpAnswer(
        status=status,
        headers={"content-type": "application/json", **(headers or {})},
        body=_each([json.dumps(body, ensure_ascii=False).encode()]),
        origin="script",
    )


async def _each(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Yield the parts of a body."""
    for chunk in chunks:
        yield chunk
