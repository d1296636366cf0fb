"""Servers on this host that bottles of these tests reach through their proxies."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import subprocess
import threading
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING

from aiohttp import WSMsgType
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class Seen:
    """One request, as a server got it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    remote: str = ""


@dataclass
class Site:
    """A server, by its port, and what it was asked for."""

    port: int
    scheme: str
    seen: list[Seen] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """What came over its websockets."""
    transports: set[asyncio.Transport] = field(default_factory=set)
    go_on: threading.Event = field(default_factory=threading.Event)
    """Set by a test to have `/events` go on."""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}"


@contextlib.contextmanager
def site(certificate: Certificate | None = None) -> Iterator[Site]:
    """Serve on a port of 127.0.0.1, with TLS where there is a certificate."""
    loop = asyncio.new_event_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    found = Site(listener.getsockname()[1], "https" if certificate else "http")
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.file, certificate.key)

    async def start() -> web.ServerRunner:
        server = web.Server(_Handler(found), access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        await web.SockSite(runner, listener, ssl_context=context).start()
        return runner

    runner = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.go_on.set()

        async def stop() -> None:
            await runner.cleanup()
            for transport in found.transports:
                transport.abort()
            await asyncio.sleep(0.01)  # For TLS to have heard of it.

        asyncio.run_coroutine_threadsafe(stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


class _Handler:
    def __init__(self, found: Site) -> None:
        self._site = found

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        found = self._site
        if request.transport is not None:
            found.transports.add(request.transport)
        if request.headers.get("upgrade", "").lower() == "websocket":
            return await self._talk(request)
        body = await request.content.read()  # However large it is.
        headers = {name.lower(): value for name, value in request.headers.items()}
        found.seen.append(Seen(request.method, request.path_qs, headers, body, request.host))
        match request.path.split("/")[1]:
            case "events":
                return await self._tell(request)
            case "silence":
                await asyncio.to_thread(found.go_on.wait, 600)
            case "reset":
                assert request.transport is not None
                hang_up(request.transport.get_extra_info("socket"))
                request.transport.abort()
            case "large":
                return web.Response(body=b"x" * int(request.query["size"]))
            case "moved":
                raise web.HTTPFound(request.query["to"])
            case "chunks":
                return await self._chunks(request)
        return web.Response(body=b"hello from " + request.path.encode())

    async def _chunks(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for number in range(5):
            await response.write(b"chunk %d\n" % number)
        await response.write_eof()
        return response

    async def _tell(self, request: web.BaseRequest) -> web.StreamResponse:
        """Send an event, and another one when the test has seen the first."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: first\n\n")
        await asyncio.to_thread(self._site.go_on.wait, 60)
        await response.write(b"data: second\n\n")
        await response.write_eof()
        return response

    async def _talk(self, request: web.BaseRequest) -> web.StreamResponse:
        talk = web.WebSocketResponse()
        await talk.prepare(request)
        async for message in talk:
            if message.type is WSMsgType.TEXT:
                self._site.said.append(message.data)
                await talk.send_str(f"heard {message.data}")
        return talk


def hang_up(connection: socket.socket) -> None:
    """Have the other side get a reset rather than an end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@dataclass(frozen=True)
class Certificate:
    """A certificate that signs for itself, with its key."""

    file: Path
    key: Path


def make_certificate(directory: Path, name: str, alternatives: str) -> Certificate:
    """Make one for `DNS:...,IP:...`."""
    made = Certificate(directory / f"{name}.pem", directory / f"{name}.key")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext"),
            *(f"subjectAltName={alternatives}", "-keyout", str(made.key), "-out", str(made.file)),
        ],
        check=True,
        capture_output=True,
    )
    return made


@contextlib.contextmanager
def tcp_server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve every connection in a thread of its own; yields the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=one, args=(client,), daemon=True).start()

    def one(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            answer(client)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
