"""How long the real Claude Code takes from a test's start to its first model request.

    python benchmarks/agent.py [--rounds N]

Beside it, in turn: the CLI run bare on this host (for bubblewrap), and `docker run ... claude -p`
with the host's network (for docker), each against a model that only notes when it is asked. What
is left out is said so. The door's process is started once a run, and is up before the first round.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from pytest_bottle import say
from pytest_bottle.lifecycle.lifecycle import Lifecycle
from pytest_bottle.lifecycle.settings import Settings
from pytest_bottle.lifecycle.spec import spec_from_arguments
from pytest_bottle.manifest import load_manifest
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.run import Run
from pytest_bottle.watchdog import ensure_watchdog

IMAGE = "pytest-bottle-agent"
PAUSE = 0.5
"""Seconds between two rounds, for what a rival leaves to the background."""
QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_MAX_RETRIES": "0",
    "DISABLE_AUTOUPDATER": "1",
    "IS_SANDBOX": "1",
}
CLAUDE = ("claude", "-p", "hello", "--output-format", "stream-json", "--verbose")
CLAUDE += ("--dangerously-skip-permissions",)


class Listener(http.server.ThreadingHTTPServer):
    """A model that refuses, and notes when it was first asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Refusal)
        self.asked = None
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Refusal(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        if self.server.asked is None:
            self.server.asked = time.time()
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = json.dumps({"type": "error", "error": {"type": "x", "message": "x"}}).encode()
        self.send_response(400)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_POST  # noqa: N815

    def log_message(self, *_):
        pass


def first_request_of(command, env) -> float:
    """Return milliseconds from the start of a command to its first request."""
    listener = Listener()
    url = f"http://127.0.0.1:{listener.server_port}"
    env = {**env, **QUIET, "ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "placeholder"}
    start = time.time()
    subprocess.run(command(env), env=os.environ | env, capture_output=True, check=False)
    listener.shutdown()
    if listener.asked is None:
        raise SystemExit(f"no request came from {command(env)}")
    return (listener.asked - start) * 1000


def bare() -> float:
    with tempfile.TemporaryDirectory() as home:
        return first_request_of(lambda _env: CLAUDE, {"HOME": home})


def docker_run() -> float:
    def command(env):
        names = [word for name in env for word in ("-e", name)]
        return ("docker", "run", "--rm", "--network", "host", *names, IMAGE, *CLAUDE)

    return first_request_of(command, {})


def bottle(lifecycle, manifest, backend) -> float:
    start = time.time()
    image = {"image": IMAGE} if backend == "docker" else {}
    spec = spec_from_arguments(agent="developer", backend=backend, **image)
    with lifecycle.open(spec, manifest) as box:
        box.model.script(say("hello"))
        box.run_agent("hello").check()
        return (box.exchanges[0].started - start) * 1000


def row(name, values, against=None, aim=""):
    median = statistics.median(values)
    spread = f"{min(values):8.0f} {max(values):8.0f}"
    ratio = f"{median / against:8.2f}" if against else " " * 8
    print(f"  {name:<34}{median:9.0f} {spread} {ratio}  {aim}")
    return median


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10, help="per rival (default: 10)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "bottle.toml")
        path.write_text('[agents.developer]\nkind = "claude"\n')
        manifest = load_manifest(path)
    run = Run.of(os.urandom(8).hex(), "main", Owner.current())
    ensure_watchdog(run)
    lifecycle = Lifecycle(run, Settings())
    pairs = {}
    if shutil.which("claude"):
        pairs["bubblewrap"] = ("the CLI bare on the host", bare)
    else:
        print("there is no claude on this host: the rows of bubblewrap are left out")
    inspect = ("docker", "image", "inspect", IMAGE)
    if shutil.which("docker") and subprocess.run(inspect, capture_output=True).returncode == 0:  # noqa: PLW1510
        pairs["docker"] = ("docker run ... claude -p", docker_run)
    else:
        print(f"no engine has the image {IMAGE}: the rows of docker are left out")
    times = {}
    try:
        for number in range(rounds + 1):
            for backend, (rival, measure) in pairs.items():
                found = {
                    rival: measure(),
                    f"a {backend} bottle": bottle(lifecycle, manifest, backend),
                }
                time.sleep(PAUSE)
                # The first round pays for what is done once.
                for name, value in found.items() if number else ():
                    times.setdefault(name, []).append(value)
    finally:
        lifecycle.close()
        lifecycle.end_run()
    print(f"from the start to the first model request, ms, {rounds} rounds, interleaved")
    print(f"  {'':<34}{'median':>9} {'min':>8} {'max':>8} {'ratio':>8}  aim")
    for backend, (rival, _) in pairs.items():
        base = row(rival, times[rival])
        row(f"a {backend} bottle", times[f"a {backend} bottle"], base, "<= 1.20")


if __name__ == "__main__":
    main()
