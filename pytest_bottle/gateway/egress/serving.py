"""Serves the bottles of a run with mitmproxy's machinery, each on the sockets that it has."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Final
from urllib.parse import urlsplit

from mitmproxy import options
from mitmproxy.addons.disable_h2c import DisableH2C
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.addons.tlsconfig import TlsConfig
from mitmproxy.connection import ConnectionState
from mitmproxy.master import Master
from mitmproxy.proxy import mode_specs
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler

from pytest_bottle.gateway.egress.addon import Addon
from pytest_bottle.gateway.egress.connecting import Connections
from pytest_bottle.gateway.egress.guarding import Guard
from pytest_bottle.gateway.egress.http1 import correct_http1
from pytest_bottle.gateway.egress.layers import Patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from collections.abc import Mapping

    from mitmproxy.connection import Client
    from mitmproxy.proxy import commands
    from mitmproxy.proxy.context import Context
    from mitmproxy.tls import TlsData

    from pytest_bottle.gateway.egress.program import Channel
    from pytest_bottle.gateway.egress.program import CheckedLoop

MAX_CONNECTIONS: Final = 64
"""Of one bottle. What it opens beyond is closed at once, so that no bottle takes all there are.
Each may hold back `layers.MAX_BUFFERED` bytes."""

_STORES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)
"""Where hosts keep the certificates that they trust."""


class GuestConnection(ProxyConnectionHandler):
    """One connection of a guest, and those that are opened for it."""

    def __init__(
        self,
        serving: Serving,
        guard: Guard,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Take over a connection."""
        upstream = guard.plan.upstream
        spec = "regular" if upstream is None else f"upstream:{upstream}"
        super().__init__(
            serving.master, reader, writer, serving.options, mode_specs.ProxyMode.parse(spec)
        )
        context: Context = self.layer.context  # type: ignore[has-type]
        self.layer = (
            modes.HttpProxy(context) if upstream is None else modes.HttpUpstreamProxy(context)
        )
        self.guard: Final = guard
        self._standing = 0
        self._moving = asyncio.Event()
        self._moving.set()
        self.target: tuple[str, int] | None = None
        """What a CONNECT asked for: all that follows is for there."""
        self.tunnel = False
        """Whether what follows passes unseen."""
        self.approved: set[tuple[str, int]] = set()
        self.models: set[tuple[str, int]] = set()
        self.refused: dict[tuple[str, int], str] = {}
        """Where it was not connected to for its address, and why."""
        self.upstream: tuple[str, int] | None = None
        if upstream is not None:
            parts = urlsplit(upstream)
            self.upstream = (parts.hostname or "", parts.port or 0)

    @contextlib.asynccontextmanager
    async def standstill(self) -> AsyncIterator[None]:
        """Read no more of the connection for as long as this is held."""
        self._standing += 1
        self._moving.clear()
        try:
            yield
        finally:
            self._standing -= 1
            if not self._standing:
                self._moving.set()

    async def drain_writers(self) -> None:
        """Wait before more is read."""
        await super().drain_writers()
        await self._moving.wait()

    async def wakeup(self, request: commands.RequestWakeup) -> None:
        """Wake somebody in time: as soon as he waits for nothing, for he is kept until then."""
        if isinstance(request, Patience):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(request.delay):
                    await request.exchange.answered.wait()
            request.delay = 0
        await super().wakeup(request)

    async def open_connection(self, command: commands.OpenConnection) -> None:
        """Connect to another host, which does not get forever to answer."""
        task = asyncio.current_task()
        server = command.connection

        def give_up() -> None:
            ready = server.state is not ConnectionState.CLOSED and (
                not server.tls or server.tls_established
            )
            if task is not None and not ready:
                task.cancel()

        timer = asyncio.get_running_loop().call_later(self.guard.timeout, give_up)
        try:
            await super().open_connection(command)
        finally:
            timer.cancel()

    def cut(self) -> None:
        """Hang up on the guest and on all that was opened for it."""
        for side in list(self.transports.values()):
            if side.writer is not None:
                side.writer.transport.abort()
            elif side.handler is not None:
                side.handler.cancel()


class Tls(TlsConfig):
    """TLS to other hosts, each bottle's with the roots that it was opened with."""

    def __init__(self, serving: Serving) -> None:
        """Know where bottles are."""
        super().__init__()
        self._serving = serving

    def tls_start_server(self, tls_start: TlsData) -> None:
        """Begin TLS with another host."""
        connection = self._serving.connections[tls_start.context.client.id]
        roots = str(self._serving.roots(connection.guard))
        if self._serving.options.ssl_verify_upstream_trusted_ca != roots:
            self._serving.options.update(ssl_verify_upstream_trusted_ca=roots)
        super().tls_start_server(tls_start)


class Serving:
    """All bottles of a run."""

    def __init__(self, directory: Path, channel: Channel, loop: CheckedLoop) -> None:
        """Serve none yet; `directory` has the authority's key."""
        correct_http1()
        self.channel: Final = channel
        self.connections: Final[dict[str, GuestConnection]] = {}
        self._directory = directory
        self._bottles: dict[str, _Bottle] = {}
        self._roots: dict[tuple[str, ...], Path] = {}
        self.options: Final = options.Options()
        self.master: Final = Master(self.options, event_loop=loop)
        self.master.addons.add(
            Proxyserver(), DisableH2C(), Addon(self), Connections(self, loop), Tls(self)
        )
        self.options.update(
            server=False,
            confdir=str(directory),
            connection_strategy="lazy",
            rawtcp=False,
            upstream_cert=False,
            showhost=False,
        )

    def of(self, client: Client) -> GuestConnection:
        """Return a guest's connection by what mitmproxy calls it."""
        return self.connections[client.id]

    async def do(self, message: Mapping[str, Any], fds: list[int]) -> dict[str, Any]:
        """Do what the door asks for.

        Raises:
            KeyError: there is no such bottle.
        """
        match message:
            case {"do": "open", "opening": opening}:
                self._bottles[opening["bottle"]] = _Bottle(Guard(opening, self.channel.send))
            case {"do": "listen", "bottle": name}:
                await self._listen(self._bottles[name], fds.pop())
            case {"do": "allow", "bottle": name, "rules": rules}:
                self._bottles[name].guard.allow(rules)
            case {"do": "settle", "bottle": name}:
                for _ in range(3):  # Of what has just come, the loop may still have to hear.
                    await asyncio.sleep(0)
                if (bottle := self._bottles.get(name)) is not None:
                    bottle.guard.settle()
            case {"do": "close", "bottle": name}:
                if (bottle := self._bottles.pop(name, None)) is not None:
                    await self._close(bottle)
        return {}

    async def _listen(self, bottle: _Bottle, descriptor: int) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(bottle.connections) >= MAX_CONNECTIONS:
                writer.transport.abort()
                return
            connection = GuestConnection(self, bottle.guard, reader, writer)
            self.connections[connection.client.id] = connection
            bottle.connections.add(connection)
            try:
                await connection.handle_client()
            finally:
                bottle.connections.discard(connection)
                del self.connections[connection.client.id]

        listener = socket.socket(fileno=descriptor)
        bottle.servers.append(await asyncio.start_server(serve, sock=listener))

    async def _close(self, bottle: _Bottle) -> None:
        for server in bottle.servers:
            server.close()
        for connection in list(bottle.connections):
            connection.cut()
        for _ in range(50):
            if not bottle.connections:
                break
            await asyncio.sleep(0.01)
        bottle.guard.settle()

    def roots(self, guard: Guard) -> Path:
        """Return a file with all certificates that a bottle's host trusts."""
        key = tuple(guard.roots)
        if key not in self._roots:
            text = b"\n".join(_certificates(guard.roots))
            digest = hashlib.sha256(text).hexdigest()[:16]
            path = self._directory / f"roots-{digest}.pem"
            path.write_bytes(text)
            self._roots[key] = path
        return self._roots[key]


class _Bottle:
    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.servers: list[asyncio.Server] = []
        self.connections: set[GuestConnection] = set()


def _certificates(more: list[str]) -> list[bytes]:
    """Return what is in the host's store and in the files beside it."""
    default = ssl.get_default_verify_paths().openssl_cafile
    stores = [one for one in (default, *_STORES) if Path(one).is_file()]
    if not stores:
        import certifi  # noqa: PLC0415 - of the proxy's own environment

        stores = [certifi.where()]
    files = [stores[0], *(one for one in more if Path(one).is_file())]
    return [Path(one).read_bytes() for one in files]
