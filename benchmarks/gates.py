"""Measure what egress proxy, git gate and supervisor of a bottle cost: time, start and memory.

    python benchmarks/gates.py [--rounds N] [--parts requests start memory] [--cold]

Requests go from a bubblewrap bottle through its proxy to a server on this host, and, with the same
client, from the host to the same server: a bottle has no network to go directly by. `--cold` makes
the proxy's environment anew, in a directory that is gone afterwards; it needs a package index.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from pytest_bottle.gateway.starting import read_door
from pytest_bottle.lifecycle.lifecycle import Lifecycle
from pytest_bottle.lifecycle.settings import Settings
from pytest_bottle.lifecycle.spec import spec_from_arguments
from pytest_bottle.manifest import load_manifest
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.run import Run

warnings.simplefilter("ignore")

MIB = 2**20
BOTTLES = 16

MANIFEST = """\
[bottles.plain]

[bottles.all]
supervise = true
egress.allow = ["127.0.0.1:{http}", "127.0.0.1:{https}"]
[bottles.all.git.remotes.origin]

[bottles.searched]
egress.allow = ["127.0.0.1:{http}", "127.0.0.1:{https}"]

[bottles.tunnelled]
egress = {{ allow = ["127.0.0.1:{http}", "127.0.0.1:{https}"], dlp = false }}
"""

SERVER = """
import asyncio, socket, ssl, sys
from aiohttp import web
LARGE = b"The answer is in app.py, where a query is put together.\\n" * (10 * 2**20 // 56)
async def handle(request):
    async for _ in request.content.iter_any():
        pass
    return web.Response(body=LARGE if request.path == "/large" else b"hello" * 20)
async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    ports = []
    for tls in (None, context):
        listener = socket.create_server(("127.0.0.1", 0))
        server = web.Server(handle, access_log=None)
        await asyncio.get_running_loop().create_server(server, sock=listener, ssl=tls)
        ports.append(listener.getsockname()[1])
    print(*ports, flush=True)
    await asyncio.sleep(36000)
asyncio.run(main())
"""

CLIENT = """
import base64, http.client, json, os, ssl, sys, time, urllib.parse
host, scheme, method, path, size, count, fresh = json.loads(sys.argv[1])
body = (b"def main():\\n    return 'hello, world'\\n" * (size // 36 + 1))[:size] if size else None
found = os.environ.get("HTTPS_PROXY", "")
proxy = urllib.parse.urlsplit(found) if found else None
headers = {}
if proxy:
    login = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
    headers = {"Proxy-Authorization": "Basic " + login}
name, port = host.split(":")
def connect():
    to = (proxy.hostname, proxy.port) if proxy else (name, int(port))
    if scheme == "http":
        return http.client.HTTPConnection(*to)
    connection = http.client.HTTPSConnection(*to, context=context)
    if proxy:
        connection.set_tunnel(name, int(port), headers)
    return connection
context = ssl.create_default_context()
context.load_verify_locations(cadata=sys.argv[2])
target = f"{scheme}://{host}{path}" if proxy and scheme == "http" else path
connection, times = connect(), []
for number in range(count + 1):
    start = time.perf_counter()
    if fresh:
        connection.close()
        connection = connect()
    connection.request(method, target, body, headers if scheme == "http" else {})
    response = connection.getresponse()
    response.read()
    assert response.status == 200, response.status
    times.append((time.perf_counter() - start) * 1000)
print(json.dumps(times[1:]))
"""
"""Asks again and again, over one connection or over new ones; prints ms, without the first."""

REQUESTS = (
    ("small", "GET", "/", 0, 60, False),
    ("small, a new connection each", "GET", "/", 0, 20, True),
    ("10 MiB down", "GET", "/large", 0, 4, False),
    ("10 MiB up", "POST", "/", 10 * MIB, 4, False),
)


@contextlib.contextmanager
def web_server(directory: Path):
    """Serve http and https; yields both ports, and the certificate."""
    key, chain = directory / "key.pem", directory / "chain.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
    command += f"-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {chain}"
    subprocess.run(command.split(), check=True, capture_output=True)
    server = [sys.executable, "-c", SERVER, str(chain), str(key)]
    with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as process:
        try:
            http, https = process.stdout.readline().split()
            yield http, https, chain
        finally:
            process.kill()


class Bench:
    """One run of the plugin's, without pytest."""

    def __init__(self, manifest: Path) -> None:
        self._manifest = load_manifest(manifest)
        self.run = Run.join(os.urandom(8).hex(), "main", Owner.current())
        self.lifecycle = Lifecycle(self.run, Settings())

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.lifecycle.close()
        self.lifecycle.end_run()

    def open(self, name: str):
        spec = spec_from_arguments(backend="bubblewrap", bottle=name)
        return self.lifecycle.open(spec, self._manifest)

    def memory(self) -> tuple[float, float]:
        """Return what door and proxy hold, in MiB; the proxy is the door's child."""
        door = read_door(self.run.directory).pid
        children = Path(f"/proc/{door}/task/{door}/children").read_text().split()
        proxies = [pid for pid in children if "egress.program" in command_line(pid)]
        return resident(door), sum(map(resident, proxies))


def command_line(pid: str) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def resident(pid: int | str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def timed(call):
    start = time.perf_counter()
    result = call()
    return result, (time.perf_counter() - start) * 1000


def ask(bottle, arguments: list) -> list[float]:
    """Return the times of requests from a bottle; None is the host."""
    # A tunnel ends at the server itself, which no bottle knows.
    certificate = Path(os.environ["SSL_CERT_FILE"]).read_text()
    command = ["-c", CLIENT, json.dumps(arguments), certificate]
    if bottle is not None:
        return json.loads(bottle.exec(["python3", *command], timeout=300).check().stdout)
    env = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run([sys.executable, *command], env=env, check=True, capture_output=True)
    return json.loads(done.stdout)


def measure_requests(manifest: Path, ports: dict[str, str], rounds: int) -> None:
    with Bench(manifest) as bench:
        searched, tunnelled = bench.open("searched"), bench.open("tunnelled")
        ways = {
            "http": {"direct": None, "searched": searched, "dlp off": tunnelled},
            "https": {"direct": None, "intercepted": searched, "tunnelled": tunnelled},
        }
        print(f"\na request, ms, medians of {rounds} rounds in turn, and the ratio to a direct one")
        for scheme, bottles in ways.items():
            print(f"  {scheme:30}" + "".join(f"{name:>14}" for name in bottles))
            for words, method, path, size, count, fresh in REQUESTS:
                host = f"127.0.0.1:{ports[scheme]}"
                arguments = [host, scheme, method, path, size, count, fresh]
                times = {name: [] for name in bottles}
                for _ in range(rounds):
                    for name, bottle in bottles.items():
                        times[name] += ask(bottle, arguments)
                medians = [statistics.median(own) for own in times.values()]
                ratios = "".join(f"{median / medians[0]:14.1f}" for median in medians)
                print(f"    {words:28}" + "".join(f"{median:14.1f}" for median in medians))
                print(f"    {'':28}{ratios}")


def measure_start(manifest: Path, rounds: int, *, cold: bool) -> None:
    print(f"\nfrom the call to a bottle that is ready, ms, {rounds} runs of 5 bottles, in turn")
    print(f"  {'':44}{'plain':>10}{'all gates':>12}{'ratio':>8}")
    if cold:
        kept = os.environ.get("XDG_CACHE_HOME")
        with tempfile.TemporaryDirectory() as cache, Bench(manifest) as bench:
            os.environ["XDG_CACHE_HOME"] = cache
            _, taken = timed(lambda: bench.open("all"))
        os.environ.pop("XDG_CACHE_HOME") if kept is None else os.environ.update(XDG_CACHE_HOME=kept)
        print(f"  {'the first of a host: it makes an environment':44}{'':10}{taken:12.0f}")
    first = {"plain": [], "all": []}
    later = {"plain": [], "all": []}
    for _ in range(rounds):
        for name in first:
            with Bench(manifest) as bench:
                for number in range(5):
                    bottle, taken = timed(lambda: bench.open(name))  # noqa: B023 - called at once
                    (later if number else first)[name].append(taken)
                    bottle.close()
    for words, times in (("the first of a run", first), ("later ones", later)):
        plain, everything = (statistics.median(times[name]) for name in ("plain", "all"))
        print(f"  {words:44}{plain:10.0f}{everything:12.0f}{everything / plain:8.1f}")


def measure_memory(manifest: Path, ports: dict[str, str]) -> None:
    print(f"\nresident memory, MiB, with everything on {'':10}{'door':>10}{'proxy':>10}")
    with Bench(manifest) as bench:
        opened = []
        for number in range(1, BOTTLES + 1):
            opened.append(bench.open("all"))
            for scheme in ("http", "https"):
                host = f"127.0.0.1:{ports[scheme]}"
                ask(opened[-1], [host, scheme, "GET", "/", 0, 5, False])
            url = opened[-1].git.url("origin")
            opened[-1].exec(["git", "ls-remote", url], timeout=60).check()
            if number in {1, BOTTLES}:
                door, proxy = bench.memory()
                words = f"{number} bottle{'s' if number > 1 else ''}, each with a few requests"
                print(f"  {words:49}{door:10.0f}{proxy:10.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parts = ("requests", "start", "memory")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--cold", action="store_true", help="make the proxy's environment, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bg-", dir="/tmp") as directory:
        root = Path(directory)
        root.chmod(0o711)  # Sandboxes of root's run bwrap from there as somebody else.
        os.environ["BOTTLE_STATE_DIR"] = f"{root}/state"
        with web_server(root) as (http, https, certificate):
            os.environ["SSL_CERT_FILE"] = str(certificate)
            manifest = root / "bottle.toml"
            manifest.write_text(MANIFEST.format(http=http, https=https))
            ports = {"http": http, "https": https}
            if "requests" in options.parts:
                measure_requests(manifest, ports, options.rounds)
            if "start" in options.parts:
                measure_start(manifest, options.rounds, cold=options.cold)
            if "memory" in options.parts:
                measure_memory(manifest, ports)


if __name__ == "__main__":
    main()
