"""A real model API as inner runs reach it: streams one answer, in odd pieces, and hears all."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "sk-ant-canary/0123456789+abcdef=="
"""Has what base64 and URLs would write otherwise."""


def events(text: str) -> bytes:
    """Return a streamed answer, with all that a reader of events has to pass on as it is."""
    return "".join(
        (
            'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1",'
            '"type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[],'
            '"stop_reason":null,"usage":{"input_tokens":11,"output_tokens":1}}}\n\n',
            ": a comment, to keep the line open\n\n",
            'event: content_block_start\ndata: {"type": "content_block_start", "index": 0, '
            '"content_block": {"type": "text", "text": ""}}\n\n',
            'event: ping\r\ndata: {"type":  "ping"}\r\n\r\n',
            'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
            f'"delta":{{"type":"text_delta","text":{json.dumps(text, ensure_ascii=False)}}}}}\n\n',
            'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n',
            'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":'
            '"end_turn"},"usage":{"output_tokens":5}}\n\n',
            'event: message_stop\ndata: {"type":"message_stop"}\n\n',
        )
    ).encode()


ANSWER = "Größe: 42 ✓"


@dataclass
class Api:
    """What a test sees of it."""

    url: str
    stop: Any
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def model_api() -> Iterator[Api]:
    """Serve on a port of this host until the block ends, or until it is stopped."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            api.bodies.append(body)
            api.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(200)
            self.send_header("content-type", "text/event-stream; charset=utf-8")
            self.send_header("request-id", "req_1")
            self.end_headers()
            data = events(ANSWER)
            for start in range(0, len(data), 100):  # Cuts lines, and characters.
                self.wfile.write(data[start : start + 100])
                self.wfile.flush()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))

    def stop() -> None:
        if thread.is_alive():
            server.shutdown()
            thread.join()
            server.server_close()

    api = Api(f"http://127.0.0.1:{server.server_port}", stop)
    thread.start()
    try:
        yield api
    finally:
        stop()
