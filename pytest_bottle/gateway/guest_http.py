"""HTTP for one bottle's guest: on the sockets that it is given, and within bounds."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING
from typing import Final

from aiohttp import web

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable
    from collections.abc import Callable

    from aiohttp.web_protocol import RequestHandler

_MAX_HEADERS: Final = 64 * 2**10

_logger = logging.getLogger(f"{__name__}.http")
# Guests that send nonsense could fill the disk with it.
_logger.setLevel(logging.CRITICAL + 1)


class GuestHttp:
    """A server of HTTP, on as many sockets as it is given."""

    def __init__(
        self,
        handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        max_connections: int,
    ) -> None:
        """Serve nothing yet.

        Args:
            handle: Answers a request. Cancelled where the guest hangs up.
            max_connections: What is opened beyond is closed at once, so that no bottle takes all
                there are.
        """
        self._listeners: list[asyncio.Server] = []
        self._server = _Bounded(
            handle,
            handler_cancellation=True,
            access_log=None,
            logger=_logger,
            max_line_size=_MAX_HEADERS,
            max_field_size=_MAX_HEADERS,
            lingering_time=2.0,
        )
        self._server.bound = max_connections

    async def listen(self, listener: socket.socket) -> None:
        """Serve on a listening socket, which is closed with the server."""
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        self._listeners.append(await loop.create_server(self._server, sock=listener))

    def hang_up(self) -> None:
        """Hang up on everybody, and stop listening. Idempotent."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for connection in self._server.connections:
            # Not closed, which would wait for guests that do not read.
            if connection.transport is not None:
                connection.transport.abort()


class _Bounded(web.Server):
    bound = 0

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        # Not before: several may have been accepted by then.
        if len(self.connections) >= self.bound:
            transport.abort()
        super().connection_made(handler, transport)
