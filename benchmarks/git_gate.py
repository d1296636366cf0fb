"""Clone and push 50 MiB through the git gate, and directly to the same repository.

    python benchmarks/git_gate.py [--size MIB] [--rounds N]

Both are asked in turn, by the host's own git; the direct one is git's `http-backend` behind a bare
server. Prints the medians, and how many times longer it takes through the gate. A push is searched
for secrets on its way, which is what takes its time.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import random
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from pathlib import Path

from pytest_bottle.door_plan import DoorPlan
from pytest_bottle.door_plan import GitGatePlan
from pytest_bottle.door_plan import RemotePlan
from pytest_bottle.gateway.client import DoorClient
from pytest_bottle.gateway.gate_opening import GateOpening
from pytest_bottle.gateway.git.environment import way_out
from pytest_bottle.gateway.model import new_token
from pytest_bottle.gateway.open_gates import OpenGates
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.run import Run

MIB = 2**20
FILES = 400
GIT_ENV = {
    **way_out(os.environ),
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    **{
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Bench"), ("EMAIL", "bench@example.org"))
    },
}


def git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=directory, env=GIT_ENV, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def write_sources(directory: Path, size: int, seed: int) -> None:
    """Write files with lines of words: in all `size` bytes, which compress as sources do."""
    choose = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(choose.choices(letters, k=choose.randint(2, 9))) for _ in range(20_000)]
    for number in range(FILES):
        lines, written = [], 0
        while written < size // FILES:
            line = " " * 4 * choose.randint(0, 3) + " ".join(choose.choices(words, k=9)) + "\n"
            lines.append(line)
            written += len(line)
        path = directory / f"package{number % 20}" / f"module{number}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(lines))


def serve_directly(root: Path) -> int:
    """Serve the bare repositories of a directory, without a look at them; return the port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            env = {
                **GIT_ENV,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_PROJECT_ROOT": str(root),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REMOTE_USER": "bench",
                "REQUEST_METHOD": self.command,
            }
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            with subprocess.Popen(["git", "http-backend"], env=env, **pipes) as process:
                self._feed(process.stdin)
                process.stdin.close()
                self.wfile.write(b"HTTP/1.0 200 OK\r\n")
                shutil.copyfileobj(process.stdout, self.wfile, MIB)

        def do_POST(self) -> None:
            self.do_GET()

        def _feed(self, stdin) -> None:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                stdin.write(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
                return
            while size := int(self.rfile.readline(), 16):
                stdin.write(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


@dataclasses.dataclass
class Way:
    """One way to the repository."""

    name: str
    url: str
    clones: list[float] = dataclasses.field(default_factory=list)
    pushes: list[float] = dataclasses.field(default_factory=list)


def timed(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def show(ways: list[Way], size: int, first: float) -> None:
    print(f"{size} MiB in {FILES} files, medians of {len(ways[0].clones)}, in seconds")
    print(f"{'':10}{'clone':>8}{'push':>8}")
    medians = []
    for way in ways:
        medians.append((statistics.median(way.clones), statistics.median(way.pushes)))
        print(f"{way.name:10}{medians[-1][0]:8.2f}{medians[-1][1]:8.2f}")
    ratios = [gate / direct for direct, gate in zip(*medians, strict=True)]
    print(f"{'ratio':10}{ratios[0]:8.2f}{ratios[1]:8.2f}")
    print(f"the run's first clone, which also fetches from the upstream: {first:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=50, help="MiB of the repository")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        os.environ["BOTTLE_STATE_DIR"] = f"{root}/state"
        served = root / "served"
        served.mkdir()
        work = root / "work"
        work.mkdir()
        git(work, "init", "-q", "-b", "main")
        write_sources(work, options.size * MIB, 0)
        git(work, "add", ".")
        git(work, "commit", "-qm", "Sources")
        bare = served / "app.git"
        git(root, "clone", "-q", "--bare", str(work), str(bare))
        git(bare, "config", "http.receivepack", "true")
        git(bare, "repack", "-adq")  # As a repository is that has been there for a while.
        run = Run.join(os.urandom(8).hex(), "main", Owner.current())
        door = DoorClient(run)
        plan = DoorPlan(git=GitGatePlan(remotes=(RemotePlan(name="app", url=str(bare)),)))
        opening = GateOpening(
            bottle="bottle-1",
            token=new_token(),
            plan=plan,
            evidence=None,
            state=root / "bottle",
            secrets={"APP_SECRET": "k9-Vq7Lw2-TzR4-moonlit-anchovy"},
            credentials={},
            environ=way_out(os.environ),
        )
        gates = OpenGates(door.connection(), opening)
        listeners = []

        def listen(_port: int) -> socket.socket:
            listeners.append(socket.create_server(("127.0.0.1", 0)))
            return listeners[0]

        gates.listen(listen)
        gate_port = listeners[0].getsockname()[1]
        ways = [
            Way("directly", f"http://127.0.0.1:{serve_directly(served)}/app.git"),
            Way("gate", f"http://bottle:{opening.token}@127.0.0.1:{gate_port}/app"),
        ]
        first = timed(lambda: git(root, "clone", "-q", "--bare", ways[1].url, str(root / "first")))
        for number in range(options.rounds):
            for way in ways:
                clone = root / f"clone-{way.name}-{number}"
                copy = ["clone", "-q", "--bare", way.url, str(clone)]
                way.clones.append(timed(lambda copy=copy: git(root, *copy)))
                shutil.rmtree(clone)
        for number in range(options.rounds):
            for way in ways:
                git(work, "checkout", "-q", "--orphan", f"{way.name}-{number}")
                write_sources(work, options.size * MIB, 2 * number + ways.index(way) + 1)
                git(work, "add", ".")
                git(work, "commit", "-qm", f"More, {way.name}")
                way.pushes.append(timed(lambda way=way: git(work, "push", "-q", way.url, "HEAD")))
        show(ways, options.size, first)
        gates.close()
        door.close()
        run.end()


if __name__ == "__main__":
    main()
