"""The HTTP server of one bottle's model, which is known by the socket that it serves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.gateway.guest_http import GuestHttp
from pytest_bottle.gateway.visit import Visit

if TYPE_CHECKING:
    import socket

    from aiohttp import web

    from pytest_bottle.gateway.visit import Entry

MAX_CONNECTIONS: Final = 256
"""Of one bottle."""

SETTLE: Final = 0.25
"""Seconds to wait for the end of answers whose last part the guest may have."""

_END_DEADLINE: Final = 1.0


class BottleServer:
    """Serves the requests of one bottle, on as many sockets as it is given."""

    def __init__(self, entry: Entry) -> None:
        """Serve nothing yet."""
        self._entry = entry
        self._visits: set[Visit] = set()
        self._http = GuestHttp(self._handle, max_connections=MAX_CONNECTIONS)

    async def listen(self, listener: socket.socket) -> None:
        """Serve on a listening socket, which is closed with the server."""
        await self._http.listen(listener)

    async def settle(self) -> None:
        """Wait until what the guest has already seen the end of is in the record."""
        for _ in range(5):  # Of a guest that has gone, the loop may still have to hear.
            await asyncio.sleep(0)
        if ending := [visit.ended for visit in self._visits if visit.begun]:
            await asyncio.wait(ending, timeout=SETTLE)

    async def close(self) -> None:
        """Hang up on everybody, and stop listening. Idempotent."""
        self._http.hang_up()
        if self._visits:
            await asyncio.wait([visit.ended for visit in self._visits], timeout=_END_DEADLINE)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        visit = Visit(self._entry, request)
        self._visits.add(visit)
        try:
            return await visit.answer()
        finally:
            self._visits.discard(visit)
            visit.ended.set_result(None)
