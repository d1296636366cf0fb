"""What tests of the door share: guests that speak HTTP, and a door within this process."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any
from typing import Self

from pytest_bottle.gateway import control
from pytest_bottle.gateway.door import Door
from pytest_bottle.gateway.model import new_token
from pytest_bottle.gateway.model import open_model
from pytest_bottle.gateway.opening import Opening
from pytest_bottle.gateway.service import serve_test_processes
from pytest_bottle.gateway.values import HttpAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from collections.abc import Callable
    from pathlib import Path

    from pytest_bottle.gateway.client import Connection
    from pytest_bottle.gateway.values import HttpRequest
    from pytest_bottle.gateway.values import ModelRequest

MODEL = "claude-sonnet-4-5"
TIMEOUT = 10


def eventually(true: Callable[[], object], seconds: float = 5.0) -> bool:
    """Whether something becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.005)
    return bool(true())


def body(*said: str, model: str = MODEL, stream: bool = False) -> dict[str, Any]:
    """A request of Anthropic's API; what was said comes from the user and the model in turn."""
    roles = ["user", "assistant"] * len(said)
    messages = [{"role": role, "content": text} for role, text in zip(roles, said, strict=False)]
    return {"model": model, "max_tokens": 100, "messages": messages, "stream": stream}


class Guest:
    """A bottle whose door is open, and the program in it that asks its model."""

    def __init__(self, connection: Connection, name: str = "bottle-1", **opening: Any) -> None:
        self.opening = Opening(bottle=name, token=new_token(), **opening)
        self.model = open_model(connection, self.opening)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
            self.model.listen(listener, url=f"http://127.0.0.1:{self.port}")

    @property
    def headers(self) -> dict[str, str]:
        return {"x-api-key": self.opening.token, "content-type": "application/json"}

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)

    def send(self, method: str, path: str, data: Any = None, headers: Any = None) -> Any:
        """Return the status and the JSON of an answer."""
        connection = self.connect()
        try:
            data = json.dumps(data) if isinstance(data, dict) else data
            given = self.headers if headers is None else headers
            connection.request(method, path, data, given)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        finally:
            connection.close()

    def ask(self, *said: str, **options: Any) -> Any:
        """Ask the model; what was said is as in `body`."""
        return self.send("POST", "/v1/messages", body(*(said or ("hello",)), **options))

    def send_raw(self, text: bytes) -> socket.socket:
        """Open a connection and send something; the caller closes it."""
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT)
        raw.sendall(text)
        return raw

    def raw_request(self, *said: str) -> bytes:
        """A request as it goes over the wire."""
        data = json.dumps(body(*(said or ("hello",)))).encode()
        lines = [f"{name}: {value}" for name, value in self.headers.items()]
        head = ["POST /v1/messages HTTP/1.1", "host: door", *lines, f"content-length: {len(data)}"]
        return "\r\n".join([*head, "", ""]).encode() + data


def reply(text: str, tokens: int = 10) -> dict[str, Any]:
    """An answer of Anthropic's API."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": tokens, "output_tokens": 0},
    }


async def hello(_request: ModelRequest) -> AsyncIterator[bytes]:
    """Always say the same."""
    yield json.dumps(reply("hello")).encode()


class OneSource:
    """A source whose answers' parts come from a function."""

    def __init__(
        self, parts: Callable[[ModelRequest], AsyncIterator[bytes]], status: int = 200
    ) -> None:
        self.parts = parts
        self.status = status
        self.closed = 0

    async def answer(self, request: ModelRequest, http: HttpRequest) -> HttpAnswer:  # noqa: ARG002
        return HttpAnswer(
            status=self.status,
            body=self.parts(request),
            headers={"content-type": "application/json"},
            origin="upstream",
        )

    async def close(self) -> None:
        self.closed += 1


class LocalDoor:
    """A door in a thread of this process, with sources of a test's own."""

    def __init__(self, directory: Path, make_source: Any) -> None:
        self.directory = directory
        self._make_source = make_source
        self._loop = asyncio.new_event_loop()
        self._listener = control.listen(directory)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(TIMEOUT)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._serving.cancel)
        self._thread.join(TIMEOUT)
        self._listener.close()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self.door = Door(self.directory, self._make_source)
        self._serving = asyncio.ensure_future(serve_test_processes(self._listener, self.door))
        self._ready.set()
        with suppress(asyncio.CancelledError):
            await self._serving
        await self.door.end()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
