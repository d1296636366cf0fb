"""Proxy, git gate and supervisor die with what they belong to, and what they wrote down stays."""

from __future__ import annotations

import json
import re
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.death.conftest import kill
from tests.death.remains import GONE_WITHIN
from tests.death.remains import Scene
from tests.death.remains import branded
from tests.death.remains import command_line
from tests.death.remains import eventually
from tests.git.upstreams import TOKEN
from tests.git.upstreams import USER
from tests.git.upstreams import Server
from tests.git.upstreams import make_repository
from tests.git.upstreams import served

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = [
    pytest.mark.bottle_requires("bubblewrap", "git"),
    pytest.mark.usefixtures("_proxy_environment"),
]

LONGEST_START = 90.0
"""Seconds until all of a bottle's gates are at work: their libraries may come from a cold disk."""

MANIFEST = """
[bottles.armed]
timeout = "90s"
egress.allow = ["{web}"]
supervise = {{ timeout = "5m" }}
git.user = {{ name = "Agent", email = "agent@example.org" }}

[bottles.armed.git.remotes.origin]
url = "{git}/app.git"
allow_push = ["refs/heads/agent/*"]
auth = {{ scheme = "basic", username = "{user}", token_ref = "UPSTREAM_TOKEN" }}
"""


class Upstreams:
    """What the gates of inner runs reach: a web server, and one that never takes a push."""

    def __init__(self, seen: Path, git: Server) -> None:
        released = self.released = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path == "/silence":
                    (seen / "silence").touch()
                    released.wait()
                self.send_response(200)
                self.send_header("Content-Length", "5")
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(b"hello")

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        answer = git.answer

        def hold_pushes(handler: BaseHTTPRequestHandler) -> None:
            if handler.path.endswith("/git-receive-pack"):
                (seen / "push").touch()
                released.wait()
            answer(handler)

        git.answer = hold_pushes  # type: ignore[method-assign]
        web = f"127.0.0.1:{self.http.server_address[1]}"
        self.manifest = MANIFEST.format(web=web, git=git.url, user=USER)
        self.environment = {
            "DEATH_WEB": f"http://{web}",
            "DEATH_GIT": f"{git.url}/app.git",
            "DEATH_SEEN": str(seen),
            "UPSTREAM_TOKEN": TOKEN,
            "GIT_SSL_CAINFO": str(git.certificate),
        }


@pytest.fixture
def upstreams(tmp_path, monkeypatch):
    for name in (
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    directory, seen = tmp_path / "upstreams", tmp_path / "seen"
    directory.mkdir()
    seen.mkdir()
    make_repository(directory / "app.git", {"README.md": "# App\n"})
    with served(directory) as git:
        found = Upstreams(seen, git)
        thread = threading.Thread(target=found.http.serve_forever, daemon=True)
        thread.start()
        yield found
        found.released.set()
        found.http.shutdown()
        found.http.server_close()
        thread.join()


@pytest.fixture
def start_armed(start_run, upstreams, tmp_path):
    """Start an inner run of `armed.py`: its tests by name, and options."""

    def start(*tests: str, options: tuple[str, ...] = ("-p", "no:xdist"), **environment: str):
        return start_run(
            *(f"armed.py::{test}" for test in tests),
            *options,
            f"--bottle-artifacts={tmp_path / 'artifacts'}",
            phase="test",
            manifest=upstreams.manifest,
            **upstreams.environment,
            **environment,
        )

    return start


def proxies(scene: Scene) -> list[int]:
    return scene.processes("pytest_bottle.gateway.egress.program")


def doors(scene: Scene) -> list[int]:
    return scene.processes("pytest_bottle.gateway.main")


def gits(scene: Scene) -> set[int]:
    """Return what serves pushes and passes them on, and what of the guest's looks like it."""
    return {
        pid
        for word in ("http-backend", "receive-pack", "push --porcelain", "git-remote-https")
        for pid in scene.processes(word)
    }


def sockets(pids: Iterable[int]) -> set[str]:
    """Return the listening sockets of this host, by inode, that processes have open."""
    own = set()
    for pid in pids:
        with suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    if (target := str(link.readlink())).startswith("socket:["):
                        own.add(target[8:-1])
    return own & listening()


def listening() -> set[str]:
    tables = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "unix")]
    tcp = {line.split()[9] for line in tables[0] if line.split()[3] == "0A"}
    return tcp | {line.split()[6] for line in tables[1] if line.split()[3] == "00010000"}


def records(tmp_path: Path, kind: str) -> list[list[dict[str, object]]]:
    """Return what is written down of each bottle; fails where a line is none."""
    files = sorted((tmp_path / "artifacts").rglob(f"*.{kind}.jsonl"))
    texts = [file.read_text() for file in files]
    assert all(text.endswith("\n") for text in texts if text)
    return [[json.loads(line) for line in text.splitlines()] for text in texts]


def assert_written(tmp_path: Path) -> None:
    """What had happened before the death is written down, and whole."""
    (requests, *_) = [found for found in records(tmp_path, "egress") if found]
    assert (requests[0]["path"], requests[0]["verdict"]) == ("/hello", "allowed")
    (done, *_) = [found for found in records(tmp_path, "git") if found]
    assert done[0]["kind"] == "fetched"
    (asked, *_) = [found for found in records(tmp_path, "supervise") if found]
    assert "request_capability" in json.dumps(asked) or "gpu" in json.dumps(asked)


@pytest.mark.parametrize(
    "options",
    [pytest.param(("-n", "1"), id="workers"), pytest.param(("-p", "no:xdist"), id="alone")],
)
def test_nothing_remains_of_gates_at_work_when_the_controller_is_killed(
    scene, start_armed, tmp_path, options
):
    run = start_armed("test_work", options=options)
    run.paused(LONGEST_START)
    assert proxies(scene)
    assert gits(scene)
    listeners = sockets(branded(scene.brand))
    assert listeners

    kill(run.process.pid)

    assert eventually(lambda: not scene.remains(), GONE_WITHIN), scene.remains()
    assert not listeners & listening()
    assert_written(tmp_path)


def test_what_a_worker_had_is_given_up_when_it_is_killed(scene, start_armed, tmp_path):
    """Its gates only: door and proxy are the run's, and the next bottle uses them."""
    run = start_armed("test_work", "test_again", options=("-n", "2"), DEATH_HOLD="yes")
    victim, worker = run.paused(LONGEST_START), run.paused_worker
    proxy, door, work = proxies(scene), doors(scene), gits(scene)
    assert work

    kill(victim)

    gone = eventually(lambda: not scene.remains_of(worker, run.process.pid))
    assert gone, scene.remains_of(worker, run.process.pid)
    assert not work & set(branded(scene.brand)), list(map(command_line, work))
    assert (proxies(scene), doors(scene)) == (proxy, door)
    assert_written(tmp_path)
    (run.directory / "gone").touch()
    assert "1 failed, 1 passed" in run.finish(120)
    assert eventually(lambda: not scene.remains()), scene.remains()


def test_proxy_and_git_go_with_a_door_that_is_killed(scene, start_armed, tmp_path):
    run = start_armed("test_work", "test_again")
    run.paused(LONGEST_START)
    (door,) = doors(scene)
    parts = {*proxies(scene), *gits(scene)}
    listeners = sockets([door, *parts])

    kill(door)

    gone = eventually(lambda: not parts & set(branded(scene.brand)))
    assert gone, [command_line(pid) for pid in parts & set(branded(scene.brand))]
    assert eventually(lambda: not listeners & listening())
    assert_written(tmp_path)
    run.resume()
    output = run.finish(120)
    assert "1 passed, 1 infra error" in output
    assert not re.search(r"\d failed", output)
    assert eventually(lambda: not scene.remains()), scene.remains()


def test_without_its_proxy_a_bottle_is_closed_in_and_the_next_gets_another(
    scene, start_armed, tmp_path
):
    run = start_armed("test_without_a_proxy", "test_again")
    run.paused(LONGEST_START)
    (proxy,) = proxies(scene)

    kill(proxy)
    run.resume()

    output = run.finish(120)
    assert (run.directory / "closed-in").exists(), output
    assert "1 passed, 1 infra error" in output
    assert "its proxy ended with exit code -9" in output
    first, second = (found for found in records(tmp_path, "egress"))
    assert [[one["path"] for one in found] for found in (first, second)] == [["/hello"]] * 2
    assert eventually(lambda: not scene.remains()), scene.remains()
