"""Drives git's own `http-backend`, which speaks the smart protocol for one repository."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING
from typing import Final

from aiohttp import web

from pytest_bottle.gateway.git.environment import GIT
from pytest_bottle.gateway.git.environment import plain_environment
from pytest_bottle.gateway.git.programs import Program
from pytest_bottle.gateway.git.repository import MAX_PACK
from pytest_bottle.guest_door import USER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.gateway.git.repository import Repository

HEAD_LIMIT: Final = 2**16
"""Bytes of a request that are kept to see what it is about."""

_MAX_BODY: Final = MAX_PACK + 2**20
_PASSED_ON: Final = frozenset({"cache-control", "content-type", "expires", "pragma"})
_PROTOCOL: Final = re.compile(r"version=[0-2]")


class TooLargeError(Exception):
    """A request's body is larger than any that is taken."""


async def start_backend(
    request: web.BaseRequest,
    repository: Repository,
    what: str,
    *,
    more: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> Program:
    """Start it on a request whose path was looked at by the caller.

    Args:
        request: The request.
        repository: What it is for.
        what: Which part of the protocol: `info/refs`, `git-upload-pack`, `git-receive-pack`.
        more: Variables for what it starts in its turn.
        pass_fds: Descriptors for that.

    Raises:
        OSError: it could not be started.
    """
    env = {
        **plain_environment(),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_PROJECT_ROOT": str(repository.path.parent),
        "PATH_INFO": f"/{repository.path.name}/{what}",
        "QUERY_STRING": request.rel_url.raw_query_string if what == "info/refs" else "",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_USER": USER,
        "REQUEST_METHOD": request.method,
        # No length: it takes what comes to its end, which was decoded and unchunked on the way.
        "CONTENT_TYPE": request.headers.get("content-type", ""),
        **(more or {}),
    }
    protocol = request.headers.get("git-protocol", "")
    if _PROTOCOL.fullmatch(protocol):
        env["GIT_PROTOCOL"] = protocol
    argv = [GIT, "http-backend"]
    return await Program.start(argv, env=env, cwd=repository.path, pass_fds=pass_fds)


async def feed_backend(request: web.BaseRequest, program: Program, head: bytearray) -> None:
    """Pass a request's body on, and keep its first bytes in `head`.

    Raises:
        TooLargeError: there is too much of it.
        ConnectionError: the guest hung up.
        web.RequestPayloadError: its encoding is broken.
    """
    if request.headers.get("expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    size = 0
    async for part in request.content.iter_any():
        size += len(part)
        if size > _MAX_BODY:
            raise TooLargeError
        if len(head) < HEAD_LIMIT:
            head += part[: HEAD_LIMIT - len(head)]
        await program.feed(part)
    program.end_input()


async def begin_response(request: web.BaseRequest, program: Program) -> web.StreamResponse:
    """Return the answer that it begins, with its headers sent; its body is `program.stdout`.

    Raises:
        ConnectionError: the guest hung up, or it broke off.
    """
    status, headers = int(HTTPStatus.OK), {}
    while line := (await program.stdout.readline()).decode("latin-1"):
        name, _, value = line.rstrip("\r\n").partition(":")
        if not name:
            break
        if name.lower() == "status":
            status = int(value.split()[0])
        elif name.lower() in _PASSED_ON:
            headers[name] = value.strip()
    else:
        message = "git broke off before it answered"
        raise ConnectionAbortedError(message)
    response = web.StreamResponse(status=status, headers=headers)
    await response.prepare(request)
    return response
