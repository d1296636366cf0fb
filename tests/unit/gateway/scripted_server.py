"""A plain HTTP server before a scripted model, for the official clients to talk to."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING

from pytest_bottle.errors import UnexpectedRequestError
from pytest_bottle.gateway import protocols
from pytest_bottle.gateway.authoring import ask
from pytest_bottle.gateway.authoring import read_script
from pytest_bottle.gateway.script import ScriptSource
from pytest_bottle.gateway.values import HttpRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_bottle.gateway.authoring import Asked
    from pytest_bottle.gateway.turns import Answer
    from pytest_bottle.gateway.values import HttpAnswer
    from pytest_bottle.gateway.values import ModelReply
    from pytest_bottle.gateway.values import ModelRequest


class ScriptedServer:
    """What a test sees of the server."""

    def __init__(self, values: tuple[object, ...]) -> None:
        self.requests: list[ModelRequest] = []
        self.replies: list[ModelReply] = []
        self.problems: list[str] = []
        self.url = ""
        self._callables: list[Asked] = []
        script = read_script(values, ask=self._keep)
        self.source = ScriptSource([script], self._ask)

    def answer(self, path: str, body: bytes) -> tuple[int, dict[str, str], list[bytes]]:
        """Return status, headers and body for a request."""
        api = protocols.api_of("POST", path)
        http = HttpRequest(method="POST", path=path, headers={}, body=body)
        try:
            request = protocols.read_request(api, body, len(self.requests))
            self.requests.append(request)
            answer, chunks = asyncio.run(self._answer(request, http))
        except (protocols.BadRequestError, UnexpectedRequestError) as error:
            self.problems.append(str(error))
            refusal = protocols.render_error(api, 400, "", str(error))
            return 400, {"content-type": "application/json"}, [json.dumps(refusal).encode()]
        reader = protocols.reply_reader(api, stream=request.stream)
        for chunk in chunks:
            reader.feed(chunk)
        self.replies.append(reader.finish())
        return answer.status, dict(answer.headers), chunks

    async def _answer(
        self, request: ModelRequest, http: HttpRequest
    ) -> tuple[HttpAnswer, list[bytes]]:
        answer = await self.source.answer(request, http)
        return answer, [chunk async for chunk in answer.body]

    def _keep(self, function: Asked) -> int:
        self._callables.append(function)
        return len(self._callables) - 1

    async def _ask(self, number: int, request: ModelRequest) -> Answer:
        return ask(self._callables[number], request)


@contextmanager
def scripted_server(*values: object) -> Iterator[ScriptedServer]:
    """Serve a script on a port of this host."""
    server = ScriptedServer(values)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, headers, chunks = server.answer(self.path, body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            for chunk in chunks:
                self.wfile.write(chunk)

        def log_message(self, *arguments: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = False
    server.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
