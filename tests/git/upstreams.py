"""Upstreams for tests of the git gate: repositories on this host, and an HTTPS server of them."""

from __future__ import annotations

import base64
import os
import ssl
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER = "robot"
TOKEN = "upstream-token-4711-8f1a"

GIT_ENV = {
    "HOME": "/nonexistent",
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Author",
    "GIT_AUTHOR_EMAIL": "author@example.org",
    "GIT_COMMITTER_NAME": "Author",
    "GIT_COMMITTER_EMAIL": "author@example.org",
}


def git(directory: Path, *arguments: str) -> str:
    """Run git in a directory of this host, and return what it prints."""
    done = subprocess.run(
        ["git", *arguments], cwd=directory, env=GIT_ENV, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def make_repository(path: Path, files: dict[str, str]) -> Path:
    """Return a bare repository with one commit on `main`."""
    work = path.with_suffix(".work")
    work.mkdir()
    git(work, "init", "--quiet", "--initial-branch=main")
    commit(work, "First", files)
    git(work, "clone", "--quiet", "--bare", ".", str(path))
    git(path, "config", "http.receivepack", "true")
    return path


def commit(work: Path, subject: str, files: dict[str, str]) -> str:
    for name, content in files.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(content)
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", subject)
    return git(work, "rev-parse", "HEAD")


def move_on(bare: Path, name: str = "moved.txt") -> str:
    """Add a commit to a bare repository's `main`, as somebody else would."""
    work = bare.with_suffix(f".{name}")
    git(bare.parent, "clone", "--quiet", str(bare), str(work))
    new = commit(work, f"Add {name}", {name: "by somebody else\n"})
    git(work, "push", "--quiet", "origin", "HEAD:main")
    return new


def refs(bare: Path) -> dict[str, str]:
    pairs = (line.split() for line in git(bare, "for-each-ref").splitlines())
    return {ref: name for name, _, ref in pairs}


@dataclass
class Contact:
    """One request that an upstream had."""

    path: str
    agent: str
    welcome: bool


class Server:
    """Serves the bare repositories of a directory to whoever has the token."""

    def __init__(self, root: Path, certificate: Path, key: Path, host: str) -> None:
        self.root = root
        self.certificate = certificate
        self.seen: list[Contact] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.answer(self)

            def do_POST(self) -> None:
                server.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer((host, 0), Handler)
        self.http.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.url = f"https://{host}:{self.http.server_address[1]}"

    @property
    def contacts(self) -> list[Contact]:
        """What the gate asked it: not the look that was taken before the bottle started."""
        return [one for one in self.seen if "check" not in one.agent]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        expected = base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()
        welcome = handler.headers.get("Authorization") == f"Basic {expected}"
        agent = handler.headers.get("User-Agent", "")
        self.seen.append(Contact(handler.path, agent, welcome))
        body = _body(handler)
        if not welcome:
            handler.send_response(401)
            handler.send_header("WWW-Authenticate", 'Basic realm="upstream"')
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        path, _, query = handler.path.partition("?")
        env = {
            **GIT_ENV,
            "CONTENT_TYPE": handler.headers.get("Content-Type", ""),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_PROTOCOL": handler.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": handler.headers.get("Content-Encoding", ""),
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REMOTE_USER": USER,
            "REQUEST_METHOD": handler.command,
        }
        command = ["git", "http-backend"]
        done = subprocess.run(command, input=body, env=env, capture_output=True, check=True)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        headers = [line.split(": ", 1) for line in head.decode().splitlines()]
        status = dict(headers).get("Status", "200").split()[0]
        handler.send_response(int(status))
        for name, value in headers:
            if name not in {"Status", "Content-Length"}:
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer)


@contextmanager
def served(root: Path, host: str = "127.0.0.1") -> Iterator[Server]:
    """Serve the bare repositories of a directory on an address of this host."""
    key, chain = root / "key.pem", root / "chain.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
    command += f"-subj /CN={host} -addext subjectAltName=IP:{host}"
    made = [*command.split(), "-keyout", str(key), "-out", str(chain)]
    subprocess.run(made, check=True, capture_output=True)
    server = Server(root, chain, key, host)
    thread = threading.Thread(target=server.http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return handler.rfile.read(int(handler.headers.get("Content-Length", "0")))
    body = b""
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        body += handler.rfile.read(size)
        handler.rfile.readline()
    handler.rfile.readline()
    return body
