"""A server with one package in it, as an index of Python's and as a registry of npm's."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import ssl
import tarfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.egress.servers import Certificate

PACKAGE = "tidebook"
"""Of this server alone: no other registry is asked for it."""

WHEEL = f"{PACKAGE}-1.0-py3-none-any.whl"
TARBALL = f"{PACKAGE}-1.0.0.tgz"


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def registry(root: Path, host: str, certificate: Certificate) -> Iterator[str]:
    """Serve the package on an address of this host, by that or its name; yields the URL.

    `/simple` is the index for pip, `/npm` the registry for npm.
    """
    server = ThreadingHTTPServer((host, 0), partial(_Handler, directory=str(root)))
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = f"https://{host}:{server.server_address[1]}"
    _write_index(root)
    _write_npm(root, url)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _write_index(root: Path) -> None:
    directory = root / "simple" / PACKAGE
    directory.mkdir(parents=True)
    metadata = f"{PACKAGE}-1.0.dist-info"
    with zipfile.ZipFile(directory / WHEEL, "w") as wheel:
        wheel.writestr(f"{PACKAGE}.py", "HIGH = '06:12'\n")
        wheel.writestr(
            f"{metadata}/METADATA", f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{metadata}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{metadata}/RECORD", "")
    (directory / "index.html").write_text(f'<!DOCTYPE html><a href="{WHEEL}">{WHEEL}</a>')


def _write_npm(root: Path, url: str) -> None:
    directory = root / "npm"
    directory.mkdir()
    manifest = {"name": PACKAGE, "version": "1.0.0", "description": "High and low water"}
    data = json.dumps(manifest).encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo("package/package.json")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    (directory / TARBALL).write_bytes(packed.getvalue())
    digest = base64.b64encode(hashlib.sha512(packed.getvalue()).digest()).decode()
    dist = {"tarball": f"{url}/npm/{TARBALL}", "integrity": f"sha512-{digest}"}
    versions = {"1.0.0": {**manifest, "dist": dist}}
    whole = {"name": PACKAGE, "dist-tags": {"latest": "1.0.0"}, "versions": versions}
    (directory / PACKAGE).write_text(json.dumps(whole))
