"""A real API as tests want it: it answers what it is told to, in the pieces it is told to."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any

from aiohttp import web

from pytest_bottle.gateway import protocols
from pytest_bottle.gateway.opening import Upstream
from pytest_bottle.gateway.values import HttpRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.gateway.values import HttpAnswer
    from pytest_bottle.gateway.values import ModelRequest
    from pytest_bottle.gateway.values import Source

KEY = "sk-ant-api03/Real+Key=0123456789"
SSE = {"content-type": "text/event-stream; charset=utf-8"}


@dataclass
class Reply:
    """What it answers to one request."""

    chunks: Sequence[bytes] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: dict(SSE))
    drops: bool = False
    """Whether it hangs up after the chunks."""
    waits: asyncio.Event | None = None
    """What it waits for after the first chunk."""


@dataclass
class Seen:
    """A request as it came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class FakeUpstream:
    """Answers with its replies in turn, the last one again and again."""

    def __init__(self, replies: Sequence[Reply]) -> None:
        self._replies = list(replies)
        self.seen: list[Seen] = []
        self.url = ""
        self.asked = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(Seen(request.method, str(request.raw_path), headers, await request.read()))
        self.asked.set()
        reply = self._replies[min(len(self.seen), len(self._replies)) - 1]
        response = web.StreamResponse(status=reply.status, headers=dict(reply.headers))
        await response.prepare(request)
        for number, chunk in enumerate(reply.chunks):
            await response.write(chunk)
            # So that it is not put together with the next.
            await asyncio.sleep(0.001)
            if number == 0 and reply.waits is not None:
                await reply.waits.wait()
        if reply.drops:
            assert request.transport is not None
            request.transport.abort()
        else:
            await response.write_eof()
        return response

    def known(self, family: str = "anthropic", key: str = KEY) -> dict[str, Upstream]:
        """What the door is told of it."""
        return {family: Upstream(base_url=self.url, key=key)}


@asynccontextmanager
async def upstream(*replies: Reply) -> AsyncIterator[FakeUpstream]:
    """Serve replies until the block ends."""
    fake = FakeUpstream(replies)
    runner = web.ServerRunner(web.Server(fake.handle, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()


def message(text: str = "Hello", **more: Any) -> dict[str, Any]:
    """A request of the Messages API."""
    body = {"model": "claude-x", "messages": [{"role": "user", "content": text}], "stream": True}
    return {**body, **more}


def asked(
    body: Mapping[str, Any],
    path: str = "/v1/messages?beta=true",
    headers: Mapping[str, str] | None = None,
    number: int = 0,
) -> tuple[ModelRequest, HttpRequest]:
    """A request as the server hands it to a source."""
    raw = json.dumps(body).encode()
    http = HttpRequest(
        method="POST",
        path=path,
        headers={
            "content-type": "application/json",
            "user-agent": "claude-cli/2.1.330 (external, sdk-cli)",
            **(headers or {}),
        },
        body=raw,
    )
    return protocols.read_request(protocols.api_of("POST", path), raw, number), http


async def answer(source: Source, body: Mapping[str, Any], **more: Any) -> tuple[HttpAnswer, bytes]:
    """Ask a source, and return its answer with the whole body."""
    got = await source.answer(*asked(body, **more))
    return got, b"".join([part async for part in got.body])


def events(*texts: str) -> bytes:
    """A whole streamed answer of the Messages API that says these texts."""
    start = '{"type":"message_start","message":{"id":"msg_1","role":"assistant","content":[]}}'
    deltas = [
        json.dumps(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": text},
            },
            ensure_ascii=False,
        )
        for text in texts
    ]
    lines = [start, *deltas, '{"type":"message_stop"}']
    return "".join(f"data: {line}\n\n" for line in lines).encode()
