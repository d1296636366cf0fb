"""One request of a guest: let in, answered, and recorded, whatever goes wrong."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from aiohttp import web

from pytest_bottle.errors import BottleError
from pytest_bottle.errors import BudgetExceededError
from pytest_bottle.errors import InfraError
from pytest_bottle.gateway import protocols
from pytest_bottle.gateway.values import Exchange
from pytest_bottle.gateway.values import HttpRequest
from pytest_bottle.gateway.values import ModelReply
from pytest_bottle.gateway.values import ModelRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_bottle.gateway.protocols.base import Reader
    from pytest_bottle.gateway.values import Api
    from pytest_bottle.gateway.values import HttpAnswer
    from pytest_bottle.gateway.values import Source

MAX_BODY: Final = 64 * 2**20
"""Bytes of one request's body."""

MAX_RECEIVING: Final = 4 * MAX_BODY
"""Bytes of the bodies that one bottle may be sending at the same time."""

_HUNG_UP: Final = 499
"""The status in the record where the guest went away before there was one."""

_HELLO: Final = ("/api/hello", "/")

_logger = logging.getLogger(__name__)


class Entry:
    """What all requests of one bottle have in common."""

    def __init__(
        self,
        *,
        token: str,
        source: Source,
        check: Callable[[ModelRequest], None],
        price: Callable[[ModelRequest, ModelReply], float | None],
        record: Callable[[Exchange], None],
    ) -> None:
        """Take the parts.

        Args:
            token: what the guest has to present.
            source: where answers come from.
            check: raises BudgetExceededError where a request must not be answered any more.
            price: what an answer cost, in US dollars.
            record: takes every exchange, when it has ended.
        """
        self.token: Final = token
        self.source: Final = source
        self.check: Final = check
        self.price: Final = price
        self.record: Final = record
        self.numbers: Final = itertools.count()
        self.receiving = 0
        """Bytes of the bodies that are just being sent."""


class Visit:
    """One request of a guest, and what becomes of it."""

    def __init__(self, entry: Entry, request: web.BaseRequest) -> None:
        """Begin."""
        self._entry = entry
        self._request = request
        self._api: Api = protocols.api_of(request.method, request.path_qs)
        self._asked = _unread(self._api)
        self._started = time.time()
        self._clock = time.perf_counter()
        self._recorded = False
        self.begun = False
        """Whether the answer is on its way."""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def answer(self) -> web.StreamResponse:
        """Answer the request, whatever goes wrong, and record it."""
        try:
            if self._api == "other":
                return self._reply(200, self._answer_other())
            return await self._send(await self._find_answer())
        except _RefusedError as error:
            return self._refuse(error)
        except (asyncio.CancelledError, ConnectionError):
            self._record(_HUNG_UP, "door", complete=False)
            raise
        except Exception as error:
            _logger.exception("%s %s", self._request.method, self._request.path)
            problem = f"the door failed: {type(error).__name__}: {error}"
            if self.begun:  # The guest must not take what it has for all.
                raise ConnectionAbortedError(problem) from error
            return self._refuse(_RefusedError(500, "api_error", problem, problem=problem))

    async def _find_answer(self) -> HttpAnswer:
        """Return the answer.

        Raises:
            _RefusedError: there is none but an error.
        """
        request, entry = self._request, self._entry
        if not self._is_welcome():
            raise _RefusedError(401, "", "this is not the key that the bottle was given")
        body = await self._read_body()
        number = next(entry.numbers)
        self._asked = _unread(self._api, number)
        try:
            self._asked = protocols.read_request(self._api, body, number)
        except protocols.BadRequestError as error:
            problem = f"the agent sent what its API does not know: {error}"
            raise _RefusedError(400, "", str(error), problem=problem) from error
        headers = {name.lower(): value for name, value in request.headers.items()}
        headers.pop("content-encoding", None)  # It was decoded on the way in.
        http = HttpRequest(method=request.method, path=request.path_qs, headers=headers, body=body)
        try:
            entry.check(self._asked)
            return await entry.source.answer(self._asked, http)
        except BudgetExceededError as error:
            raise _RefusedError(400, "budget_exceeded", str(error)) from error
        except BottleError as error:
            problem = str(error)
            infra = isinstance(error, InfraError)
            raise _RefusedError(
                502 if infra else 400,
                "api_error" if infra else "invalid_request_error",
                problem,
                problem=problem,
                infra=infra,
            ) from error

    async def _send(self, answer: HttpAnswer) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        reader = self._reader(answer)
        complete, problem, infra = False, "", False
        try:
            # Before the headers, so that a failure still has a status of its own.
            part = await anext(answer.body, None)
            await response.prepare(self._request)
            self.begun = True
            while part is not None:
                if reader is not None:
                    reader.feed(part)
                await response.write(part)
                part = await anext(answer.body, None)
            complete = True
        except BottleError as error:
            problem, infra = str(error), isinstance(error, InfraError)
            if not self.begun:
                raise _RefusedError(
                    502, "api_error", problem, problem=problem, infra=infra
                ) from error
            raise ConnectionAbortedError(problem) from error
        except Exception as error:
            if not isinstance(error, ConnectionError):
                problem = f"the answer broke off: {type(error).__name__}: {error}"
            raise
        finally:
            if (close := getattr(answer.body, "aclose", None)) is not None:
                with suppress(Exception):
                    await close()
            if self.begun:
                # Before the guest can see the end, so that who saw it finds it in the record.
                reply = ModelReply() if reader is None else reader.finish()
                self._record(
                    answer.status,
                    answer.origin,
                    reply=reply,
                    complete=complete,
                    problem=problem,
                    infra=infra,
                )
        await response.write_eof()
        return response

    def _reader(self, answer: HttpAnswer) -> Reader | None:
        """Return what reads the answer as it passes by; None of what is none of a model."""
        if answer.status != HTTPStatus.OK or self._api == "count_tokens":
            return None
        types = [v for name, v in answer.headers.items() if name.lower() == "content-type"]
        return protocols.reply_reader(self._api, stream="text/event-stream" in "".join(types))

    async def _read_body(self) -> bytes:
        """Return the request's body.

        Raises:
            _RefusedError: it is too large, or all that are being sent together are, or its
                encoding is broken.
        """
        request, entry = self._request, self._entry
        too_large = _RefusedError(413, "", f"the body is larger than {MAX_BODY} bytes")
        if (request.content_length or 0) > MAX_BODY:
            raise too_large
        if request.headers.get("expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = bytearray()
        try:
            async for chunk in request.content.iter_any():
                body += chunk
                entry.receiving += len(chunk)
                if len(body) > MAX_BODY or entry.receiving > MAX_RECEIVING:
                    raise too_large
        except web.RequestPayloadError as error:
            raise _RefusedError(400, "", f"the body cannot be read: {error}") from error
        finally:
            entry.receiving -= len(body)
        return bytes(body)

    def _answer_other(self) -> dict[str, Any]:
        method, path = self._request.method, self._request.path
        if self._request.headers.get("upgrade", "").lower() == "websocket":
            raise _RefusedError(426, "", "this API is served over plain HTTP only")
        if method in {"GET", "HEAD"} and path == "/v1/models":
            return protocols.render_models()
        if method in {"GET", "HEAD"} and path in _HELLO:
            return {}
        raise _RefusedError(404, "", f"the bottle's door serves no {method} {path}")

    def _is_welcome(self) -> bool:
        headers = self._request.headers
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        given = {headers.get("x-api-key", ""), bearer.strip() if scheme.lower() == "bearer" else ""}
        return self._entry.token in given

    def _refuse(self, error: _RefusedError) -> web.StreamResponse:
        self._record(error.status, "door", problem=error.problem, infra=error.infra)
        value = protocols.render_error(self._api, error.status, error.kind, str(error))
        return self._reply(error.status, value)

    def _reply(self, status: int, value: dict[str, Any]) -> web.StreamResponse:
        text = json.dumps(value)
        return web.Response(status=status, text=text, content_type="application/json")

    def _record(
        self,
        status: int,
        origin: str,
        *,
        reply: ModelReply | None = None,
        complete: bool = True,
        problem: str = "",
        infra: bool = False,
    ) -> None:
        """Record the exchange, unless that has been done."""
        if self._recorded:
            return
        self._recorded = True
        reply = reply or ModelReply()
        self._entry.record(
            Exchange(
                request=self._asked,
                status=status,
                origin=origin,
                reply=reply,
                cost=self._entry.price(self._asked, reply),
                started=self._started,
                duration=time.perf_counter() - self._clock,
                complete=complete,
                problem=problem,
                infra=infra,
            )
        )


class _RefusedError(Exception):
    """A request that is answered with an error by the door itself."""

    def __init__(
        self, status: int, kind: str, message: str, *, problem: str = "", infra: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.problem = problem
        self.infra = infra


def _unread(api: Api, number: int = -1) -> ModelRequest:
    """Return what stands for a request that was not read."""
    return ModelRequest(
        number=number,
        api=api,
        body={},
        system="",
        messages=[],
        tools=[],
        model="",
        stream=False,
        turn=0,
    )
