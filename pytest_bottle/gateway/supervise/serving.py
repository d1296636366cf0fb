"""Serves one bottle's supervisor: the MCP SDK's server over HTTP, on the socket of its guest."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from pytest_bottle.gateway.supervise.tools import Reply
from pytest_bottle.gateway.supervise.tools import Tools
from pytest_bottle.gateway.supervise.tools import answer

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from mcp.server.context import ServerRequestContext
    from starlette.types import Receive
    from starlette.types import Scope
    from starlette.types import Send

MAX_CONNECTIONS: Final = 64
"""Of one bottle. What it opens beyond is closed at once."""

MAX_BODY: Final = 256 * 2**10
"""Bytes of one request."""

PATH: Final = "/mcp"

_PROGRESS_EVERY: Final = 2.0
"""Seconds between two signs of life to a client that waits."""

_END_DEADLINE: Final = 2.0
_LOCAL: Final = ("127.0.0.1", "localhost", "[::1]")

_INSTRUCTIONS: Final = (
    "You work in a sandbox. What it denies you can be requested here: a person or a program "
    "decides, and an approval takes effect at once. A rejection is final for now."
)

for _name in ("mcp", "uvicorn", "sse_starlette"):
    # Guests that send nonsense could fill the disk with it.
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class McpServing:
    """Serves the tools of one bottle, on as many sockets as it is given."""

    def __init__(self, tools: Tools, *, token: str) -> None:
        """Serve nothing yet.

        Args:
            tools: What is offered.
            token: What a client has to present.
        """
        self._tools = tools
        self._expected = f"Bearer {token}".encode()
        self._server: Server[Any] = Server(
            "supervise",
            version="1",
            instructions=_INSTRUCTIONS,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
        )
        # Without sessions, a client that has lost its connection, or is a branch's of another
        # one, just goes on.
        self._manager = StreamableHTTPSessionManager(
            self._server,
            stateless=True,
            security_settings=TransportSecuritySettings(
                allowed_hosts=[f"{host}:*" for host in _LOCAL],
                allowed_origins=[f"http://{host}:*" for host in _LOCAL],
            ),
            max_request_body_size=MAX_BODY,
        )
        self._config = Config(
            self._serve,
            interface="asgi3",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
        )
        self._config.load()
        self._state = ServerState()
        self._listeners: list[asyncio.Server] = []
        self._stop = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def listen(self, listener: socket.socket) -> None:
        """Serve on a listening socket, which is closed with the server."""
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        if self._running is None:
            ready = asyncio.Event()
            self._running = loop.create_task(self._run(ready))
            await ready.wait()
        self._listeners.append(await loop.create_server(self._connected, sock=listener))

    async def close(self) -> None:
        """Hang up on everybody, and stop listening. Idempotent."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        # Answers that are on their way get there: who waited has been answered before.
        if self._state.tasks:
            await asyncio.wait(list(self._state.tasks), timeout=_END_DEADLINE)
        for connection in list(self._state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        self._stop.set()
        if self._running is not None:
            await asyncio.wait([self._running], timeout=_END_DEADLINE)
            self._running.cancel()

    async def _run(self, ready: asyncio.Event) -> None:
        # Entered and left by one task, as its cancel scopes want it.
        async with self._manager.run():
            ready.set()
            await self._stop.wait()

    def _connected(self) -> asyncio.BaseProtocol:
        return _Connection(config=self._config, server_state=self._state, app_state={})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let in who has the bottle's pass."""
        if scope["path"] != PATH:
            await _refuse(send, 404, b"There is nothing but /mcp here.")
        elif not self._may(scope):
            await _refuse(
                send, 401, b"The bottle's pass is wanted.", (b"www-authenticate", b"Bearer")
            )
        elif scope["method"] != "POST":
            # There are no sessions to end, and nothing to tell that nobody asked for.
            await _refuse(send, 405, b"Requests are sent with POST.", (b"allow", b"POST"))
        else:
            await self._manager.handle_request(scope, receive, send)

    def _may(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(given) == 1 and hmac.compare_digest(given[0], self._expected)

    async def _list_tools(
        self,
        _context: ServerRequestContext[Any, Any],
        _params: types.PaginatedRequestParams | None,
    ) -> types.ListToolsResult:
        tools = [
            types.Tool(
                name=offer.name, description=offer.description, input_schema=dict(offer.schema)
            )
            for offer in self._tools.offers.values()
        ]
        return types.ListToolsResult(tools=tools)

    async def _call_tool(
        self, context: ServerRequestContext[Any, Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        reply = await self._answer(context, params.name, params.arguments or {})
        content = types.TextContent(type="text", text=reply.text)
        return types.CallToolResult(content=[content], is_error=reply.error)

    async def _answer(
        self, context: ServerRequestContext[Any, Any], name: str, arguments: Mapping[str, Any]
    ) -> Reply:
        asked = self._tools.ask(name, arguments)
        if isinstance(asked, Reply):
            return asked
        began = time.monotonic()
        # A client that goes away cancels this, and not what it asked for.
        while not (await asyncio.wait([asked.done], timeout=_PROGRESS_EVERY))[0]:
            waited = time.monotonic() - began
            await context.session.report_progress(
                waited, self._tools.desk.timeout, "Waiting for somebody to decide."
            )
        return answer(asked, asked.done.result())


async def _refuse(send: Send, status: int, text: bytes, *headers: tuple[bytes, bytes]) -> None:
    plain = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": status, "headers": [*plain, *headers]})
    await send({"type": "http.response.body", "body": text})


class _Connection(H11Protocol):
    """A connection, unless there are too many: then it is closed at once."""

    _counted = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        # Not where it is made: several may be, before the first is counted.
        if len(self.connections) < MAX_CONNECTIONS:
            self._counted = True
            super().connection_made(transport)
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._counted:
            super().connection_lost(exc)
