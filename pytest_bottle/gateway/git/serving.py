"""The git server of one bottle: smart HTTP, by git's own `http-backend`."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
import re
import time
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING
from typing import Final

from aiohttp import web

from pytest_bottle.errors import DoorError
from pytest_bottle.gateway.git.backend import HEAD_LIMIT
from pytest_bottle.gateway.git.backend import begin_response
from pytest_bottle.gateway.git.backend import feed_backend
from pytest_bottle.gateway.git.backend import start_backend
from pytest_bottle.gateway.git.packets import split
from pytest_bottle.gateway.git.programs import READ
from pytest_bottle.gateway.git.programs import Program
from pytest_bottle.gateway.git.receiving import Receiving
from pytest_bottle.gateway.git.remote import UnreachableError
from pytest_bottle.gateway.guest_http import GuestHttp
from pytest_bottle.guest_door import USER

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from collections.abc import Mapping

    from pytest_bottle.gateway.git.pushes import Judge
    from pytest_bottle.gateway.git.remote import Remote
    from pytest_bottle.gateway.records import RecordLog

MAX_CONNECTIONS: Final = 64
"""Of one bottle. What it opens beyond is closed at once."""

MAX_WORK: Final = 16
"""Git programs of one bottle that serve at once; further requests wait."""

REQUEST_TIMEOUT: Final = 3600.0
"""Seconds for one request, with all that a guest sends or takes meanwhile."""

_END_DEADLINE: Final = 2.0

_PATH: Final = re.compile(r"/([^/]+)/(info/refs|git-upload-pack|git-receive-pack)")

_logger = logging.getLogger(__name__)


class GitServer:
    """Serves the remotes of one bottle, on as many sockets as it is given."""

    def __init__(
        self,
        *,
        token: str,
        remotes: Mapping[str, Remote],
        judge: Judge,
        records: RecordLog,
        scrub: Callable[[str], str],
    ) -> None:
        """Serve nothing yet.

        Args:
            token: What the guest presents.
            remotes: What it may reach, by name.
            judge: Decides on its pushes.
            records: Where is written what happened.
            scrub: Takes secrets out of what is said to the guest.
        """
        self._token = token
        self._remotes = remotes
        self._judge = judge
        self._records = records
        self._scrub = scrub
        self._work = asyncio.Semaphore(MAX_WORK)
        self._pushes: set[asyncio.Task[None]] = set()
        self._http = GuestHttp(self._handle, max_connections=MAX_CONNECTIONS)

    async def listen(self, listener: socket.socket) -> None:
        """Serve on a listening socket, which is closed with the server."""
        await self._http.listen(listener)

    async def close(self) -> None:
        """Hang up on everybody, and stop listening. Idempotent."""
        self._http.hang_up()
        if self._pushes:
            _, late = await asyncio.wait(self._pushes, timeout=_END_DEADLINE)
            for push in late:
                push.cancel()
            if late:
                await asyncio.wait(late, timeout=_END_DEADLINE)
        self._judge.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                return await self._answer(request)
        except _RefusedError as error:
            return _reply(error.status, str(error), error.headers)
        except (TimeoutError, ConnectionError):
            raise
        except DoorError as error:
            return _reply(HTTPStatus.INTERNAL_SERVER_ERROR, f"the gate {error}")
        except Exception as error:
            _logger.exception("%s %s", request.method, request.path)
            words = f"the gate failed: {type(error).__name__}"
            return _reply(HTTPStatus.INTERNAL_SERVER_ERROR, words)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if not self._is_welcome(request):
            raise _RefusedError(
                HTTPStatus.UNAUTHORIZED,
                "this is not the pass that the bottle was given",
                {"WWW-Authenticate": 'Basic realm="bottle"'},
            )
        remote, what, service = self._find(request)
        async with self._work:
            if service == "git-receive-pack":
                if what == "info/refs":
                    await self._judge.expect()
                    return await self._pass_on(request, remote, what)
                return await self._receive(request, remote)
            if what == "info/refs" or not remote.looked:
                await self._refresh(remote)
            return await self._pass_on(request, remote, what)

    def _find(self, request: web.BaseRequest) -> tuple[Remote, str, str]:
        """Return what a request is about: a remote, what is asked of it, and which service."""
        match = _PATH.fullmatch(request.rel_url.raw_path)
        if match is None:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "the git gate serves /<remote> only")
        name, what = match[1], match[2]
        if (found := self._remotes.get(name)) is None:
            found = self._remotes.get(name.removesuffix(".git"))
        if found is None:
            known = ", ".join(sorted(self._remotes))
            words = f"the bottle declares no such remote; it has {known}"
            raise _RefusedError(HTTPStatus.NOT_FOUND, words)
        if what == "info/refs":
            query = request.rel_url.raw_query_string
            service = query.removeprefix("service=")
            if request.method != "GET" or service not in {"git-upload-pack", "git-receive-pack"}:
                words = "the git gate speaks git's smart protocol only"
                raise _RefusedError(HTTPStatus.FORBIDDEN, words)
            return found, what, service
        if request.method != "POST" or request.content_type != f"application/x-{what}-request":
            words = "the git gate speaks git's smart protocol only"
            raise _RefusedError(HTTPStatus.FORBIDDEN, words)
        return found, what, what

    def _is_welcome(self, request: web.BaseRequest) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            pair = base64.b64decode(given.strip(), validate=True)
        except binascii.Error:
            return False
        return hmac.compare_digest(pair, f"{USER}:{self._token}".encode())

    async def _refresh(self, remote: Remote) -> None:
        try:
            await remote.refresh()
        except UnreachableError as error:
            name = remote.plan.name
            self._records.add(
                {
                    "kind": "failed",
                    "time": time.time(),
                    "remote": name,
                    "reason": f"the upstream cannot be reached: {error}",
                }
            )
            words = f"the upstream of {name} cannot be reached: {error}"
            raise _RefusedError(HTTPStatus.BAD_GATEWAY, words) from error

    async def _pass_on(
        self, request: web.BaseRequest, remote: Remote, what: str
    ) -> web.StreamResponse:
        """Answer from the mirror."""
        program = await start_backend(request, remote.mirror, what)
        head = bytearray()
        feeding = asyncio.create_task(self._feed(request, program, head))
        try:
            response = await begin_response(request, program)
            # One part is kept back: what a guest has seen the end of is in the records.
            kept, seen, packed = b"", b"", False
            while part := await program.stdout.read(READ):
                if not packed and len(seen) < 4 * HEAD_LIMIT:
                    seen += part
                    packed = b"PACK" in seen
                await response.write(kept)
                kept = part
            if packed and what == "git-upload-pack":
                try:
                    await self._record_fetch(remote, bytes(head))
                except DoorError as error:  # The guest must not take what it has for all.
                    raise ConnectionAbortedError(str(error)) from error
            await response.write(kept)
            await response.write_eof()
            return response
        finally:
            feeding.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await feeding
            program.kill()

    async def _feed(self, request: web.BaseRequest, program: Program, head: bytearray) -> None:
        try:
            await feed_backend(request, program, head)
        except BaseException:
            program.kill()
            raise

    async def _record_fetch(self, remote: Remote, head: bytes) -> None:
        lines = [line.strip() for line in split(head)]
        if b"command=ls-refs" in lines:
            return
        wants = {line.split()[1].decode() for line in lines if line.startswith(b"want ")}
        refs = await remote.mirror.refs()
        self._records.add(
            {
                "kind": "fetched",
                "time": time.time(),
                "remote": remote.plan.name,
                "refs": sorted(ref for ref, value in refs.items() if value in wants),
                "wants": sorted(wants),
            }
        )

    async def _receive(self, request: web.BaseRequest, remote: Remote) -> web.StreamResponse:
        """Hold a push, and pass it on or not."""
        receiving = Receiving(request, remote, self._judge, self._records, self._scrub)
        task = asyncio.create_task(receiving.run())
        self._pushes.add(task)
        task.add_done_callback(self._pushes.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            receiving.hang_up()
            raise
        except Exception as error:
            if receiving.response is None:
                raise
            # The guest must not take what it has for all.
            raise ConnectionAbortedError(str(error)) from error
        if receiving.response is None:
            raise _RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, "git did not take the push")
        return receiving.response


class _RefusedError(Exception):
    """A request that is answered with an error by the gate itself."""

    def __init__(self, status: int, words: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.headers = dict(headers or {})


def _reply(status: int, words: str, headers: Mapping[str, str] | None = None) -> web.Response:
    # As plain text, which git shows to whoever runs it.
    return web.Response(status=status, text=f"{words}\n", headers=headers)
