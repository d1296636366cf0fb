"""Servers of this host that remember all that reached them."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

GREETING = "you have reached the witness"


@dataclass(slots=True)
class Witness:
    """An HTTP server on 127.0.0.1, and what it was sent."""

    port: int
    heard: list[bytes] = field(default_factory=list)
    """Each request as it arrived: its line, its headers, its body."""
    redirect: str = ""
    """Where `/redirect` leads."""

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def all(self) -> bytes:
        """All that it was sent until now."""
        return b"\n".join(self.heard)


@contextlib.contextmanager
def witness() -> Iterator[Witness]:
    """Serve until left."""
    seen = Witness(port=0)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self._body()
            headers = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
            seen.heard.append(f"{self.requestline}\r\n{headers}\r\n".encode("latin-1") + body)
            redirected = self.path == "/redirect"
            text = GREETING.encode()
            self.send_response(302 if redirected else 200)
            if redirected:
                self.send_header("Location", seen.redirect)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_HEAD = answer  # noqa: N815 - names of the library

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    seen.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextlib.contextmanager
def datagrams() -> Iterator[tuple[int, socket.socket]]:
    """Receive datagrams on all addresses of this host; give the port and the socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("0.0.0.0", 0))  # noqa: S104 - all addresses are to be tried
        receiver.settimeout(5)
        yield receiver.getsockname()[1], receiver
