"""Answers from the real API, and puts each answer into the cassette once it is whole."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_bottle.errors import UpstreamError
from pytest_bottle.gateway.cassette import Cassette
from pytest_bottle.gateway.protocols.sse import EventReader
from pytest_bottle.gateway.replay import Playback
from pytest_bottle.gateway.replay import replayed
from pytest_bottle.gateway.transcribing import ANSWER_HEADERS
from pytest_bottle.gateway.transcribing import Episode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pytest_bottle.gateway.transcribing import RecordedRequest
    from pytest_bottle.gateway.transcribing import Transcriber
    from pytest_bottle.gateway.upstream import UpstreamClient
    from pytest_bottle.gateway.values import Api
    from pytest_bottle.gateway.values import HttpAnswer
    from pytest_bottle.gateway.values import HttpRequest
    from pytest_bottle.gateway.values import ModelRequest

CLOSE_TIMEOUT = 10.0
"""Seconds that answers still have to become whole when a bottle ends."""

_REFUSED_KEY = frozenset({401, 403})
_LAST_EVENTS = {
    "messages": {"message_stop", "error"},
    "responses": {"response.completed", "response.incomplete", "response.failed", "error"},
}
"""What a stream ends with. One that ends without was cut, though nothing else shows it."""

_Queue = asyncio.Queue["bytes | Exception | None"]
"""Parts of an answer, and what ended it."""


class _Tape:
    """Lets answers through to the guest, and adds those that become whole to a cassette.

    What was asked is followed to its end, whether or not the guest stays: it is paid for, and the
    same request will be made in the replay.
    """

    def __init__(
        self, upstream: UpstreamClient, cassette: Cassette, transcriber: Transcriber
    ) -> None:
        self._upstream = upstream
        self._cassette = cassette
        self._transcriber = transcriber
        self._orders = itertools.count(len(cassette.episodes))
        self._exchanges: set[asyncio.Task[None]] = set()
        self.losses: list[str] = []
        """What was answered and is not in the cassette, a sentence each."""

    async def answer(
        self, recorded: RecordedRequest, request: ModelRequest, http: HttpRequest
    ) -> HttpAnswer:
        """Return the real answer, as soon as its head is there."""
        head: asyncio.Future[HttpAnswer] = asyncio.get_running_loop().create_future()
        exchange = self._exchange(head, next(self._orders), recorded, request, http)
        task = asyncio.create_task(exchange)
        self._exchanges.add(task)
        task.add_done_callback(self._exchanges.discard)
        return await asyncio.shield(head)

    async def close(self) -> None:
        """Wait for what is on its way, then give it up; at once if this is cancelled."""
        try:
            if self._exchanges:
                await asyncio.wait(self._exchanges, timeout=CLOSE_TIMEOUT)
        finally:
            late = list(self._exchanges)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            await self._upstream.close()

    async def _exchange(
        self,
        head: asyncio.Future[HttpAnswer],
        order: int,
        recorded: RecordedRequest,
        request: ModelRequest,
        http: HttpRequest,
    ) -> None:
        """Send a request, pass on its answer part by part, and record it."""
        parts: list[bytes] = []
        queue: _Queue = asyncio.Queue()
        end: Exception | None = None
        try:
            answer = await self._upstream.send(request, http)
            headers = {
                name: value for name, value in answer.headers.items() if name in ANSWER_HEADERS
            }
            head.set_result(replace(answer, headers=headers, body=_passed(queue)))
            async for part in answer.body:
                parts.append(part)
                queue.put_nowait(part)
            body = b"".join(parts)
            if loss := _loss(request.api, answer, body):
                self._lose(request, loss)
            else:
                kept = self._transcriber.answer(answer.status, headers, body, http)
                self._cassette.add(Episode(request=recorded, answer=kept), order)
                # Before the guest sees the end: whatever it does then, the answer is on disk.
                self._cassette.save()
        except asyncio.CancelledError:
            self._lose(request, "the bottle ended before the answer did")
            end = UpstreamError("the real API", reason="the bottle was closed")
            raise
        except Exception as error:  # noqa: BLE001 - it goes to who waits for the answer
            if isinstance(error, UpstreamError):
                self._lose(request, str(error))
            end = error
        finally:
            if end is not None and not head.done():
                head.set_exception(end)
                head.exception()  # Not unheard, though the guest may have gone.
            queue.put_nowait(end)

    def _lose(self, request: ModelRequest, why: str) -> None:
        what = f"the answer to request {request.number} was not recorded"
        self.losses.append(f"{self._cassette.path}: {what}: {why}.")


class RecordSource:
    """Answers from the real API, and makes a new cassette of the answers.

    The old one stays until the first answer is whole, and is replaced by it then.
    """

    def __init__(
        self, upstream: UpstreamClient, path: Path, transcriber: Transcriber, *, test: str = ""
    ) -> None:
        """Take over the client, which is closed with the source.

        Args:
            upstream: The real APIs.
            path: Where the cassette will be.
            transcriber: What takes out secrets; the real keys have to be among those it knows.
            test: The test's id, for messages.
        """
        self._transcriber = transcriber.knowing(upstream.secrets)
        cassette = Cassette(path, test=test)
        self._tape = _Tape(upstream, cassette, self._transcriber)

    async def answer(self, request: ModelRequest, http: HttpRequest) -> HttpAnswer:
        """Return the real answer; its body's iterator raises where it breaks off.

        Raises:
            UpstreamError: it broke off; of the body's iterator.
            CassetteError: it could not be written; of the body's iterator.
        """
        recorded = self._transcriber.request(request, http)
        return await self._tape.answer(recorded, request, http)

    def drift(self) -> list[str]:
        """Return what was not recorded, a sentence each."""
        return list(self._tape.losses)

    async def close(self) -> None:
        """Wait a while for answers on their way, and close the connections. Idempotent."""
        await self._tape.close()


class NewEpisodesSource:
    """Answers from a cassette, and from the real API what is not in it; that is added."""

    def __init__(
        self, upstream: UpstreamClient, path: Path, transcriber: Transcriber, *, test: str = ""
    ) -> None:
        """Take over the client, which is closed with the source; arguments as of RecordSource."""
        self._upstream = upstream
        self._path = path
        self._test = test
        self._transcriber = transcriber.knowing(upstream.secrets)
        self._playback: Playback | None = None
        self._tape: _Tape | None = None

    async def answer(self, request: ModelRequest, http: HttpRequest) -> HttpAnswer:
        """Return the recorded answer, else the real one.

        Raises:
            CassetteError: there is a cassette, and it cannot be used.
        """
        if self._playback is None or self._tape is None:
            cassette = Cassette(self._path, test=self._test)
            if self._path.exists():
                cassette = Cassette.load(self._path, test=self._test)
            self._playback = Playback(cassette)
            self._tape = _Tape(self._upstream, cassette, self._transcriber)
        recorded = self._transcriber.request(request, http)
        if (known := self._playback.take(recorded)) is not None:
            return replayed(known)
        return await self._tape.answer(recorded, request, http)

    def drift(self) -> list[str]:
        """Return how this run differed from the recording, a sentence each."""
        if self._playback is None or self._tape is None:
            return []
        return [*self._playback.drift(), *self._tape.losses]

    async def close(self) -> None:
        """Wait a while for answers on their way, and close the connections. Idempotent."""
        if self._tape is not None:
            await self._tape.close()
        await self._upstream.close()


async def _passed(queue: _Queue) -> AsyncIterator[bytes]:
    while (part := await queue.get()) is not None:
        if isinstance(part, Exception):
            raise part
        yield part


def _loss(api: Api, answer: HttpAnswer, body: bytes) -> str:
    """Return why an answer that has come must not be recorded; empty if it may."""
    if answer.status in _REFUSED_KEY:
        return f"the real API refused the key with status {answer.status}"
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return "" if _is_json(body) else "it is JSON that was cut"
    if kind != "text/event-stream":
        return ""
    if api == "chat":
        ended = b"data: [DONE]" in body or b"data:[DONE]" in body
    else:
        reader = EventReader()
        seen = {event.get("type") for event in (*reader.feed(body), *reader.finish())}
        ended = not seen.isdisjoint(_LAST_EVENTS.get(api, seen))
    return "" if ended else "the stream ended before its last event"


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True
