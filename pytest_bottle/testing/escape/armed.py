"""The bottle whose door is tried: one with all parts of it, and witnesses on both sides."""

from __future__ import annotations

import json
import os
import sys
import uuid
from typing import TYPE_CHECKING
from typing import Any
from typing import ClassVar
from typing import Final
from typing import Protocol

import pytest

from pytest_bottle.process import run
from pytest_bottle.testing.conformance.subject import Subject
from pytest_bottle.testing.escape.witness import witness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_bottle.bottle import Bottle
    from pytest_bottle.testing.escape.witness import Witness

SECRET: Final = "BOTTLE_ESCAPE_SECRET"  # noqa: S105 - its name
"""A declared secret of the host's: the value must not leave."""

TOKEN: Final = "BOTTLE_ESCAPE_TOKEN"  # noqa: S105 - its name
"""A credential that the proxy puts on: the value must not come in."""

ASK: Final = """\
import base64, gzip, http.client, json, os, socket, sys, time, urllib.parse, urllib.request
arguments = json.loads(sys.stdin.read())
# What is tried stands on an address that the guest would otherwise take for its own.
for name in ("no_proxy", "NO_PROXY"):
    os.environ.pop(name, None)
def ask(url, method="GET", headers={}, body=None, proxy=None):
    "Return the status and the beginning of the answer; the reason where there is none."
    handler = urllib.request.ProxyHandler({} if proxy is None else {"http": proxy, "https": proxy})
    opener = urllib.request.build_opener(handler)
    data = body.encode() if isinstance(body, str) else body
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with opener.open(request, timeout=60 * patience) as answer:
            return [answer.status, answer.read(500).decode(errors="replace")]
    except urllib.error.HTTPError as error:
        return [error.code, error.read(500).decode(errors="replace")]
    except (OSError, http.client.HTTPException) as error:
        return [0, type(error).__name__]
def raw(address, text, timeout=10):
    "Send bytes to a socket, and return what comes back, as much as fits."
    with socket.create_connection(tuple(address), timeout=timeout * patience) as client:
        client.sendall(text.encode("latin-1") if isinstance(text, str) else text)
        answer = b""
        try:
            while len(answer) < 65536:
                data = client.recv(65536)
                if not data:
                    break
                answer += data
                if b"\\r\\n\\r\\n" in answer and not answer.startswith(b"HTTP/1.1 200"):
                    break
        except OSError:
            pass
        return answer.decode("latin-1")
through = os.environ.get("http_proxy")
if through:
    parts = urllib.parse.urlsplit(through)
    door = (parts.hostname, parts.port)
    login = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    pass_line = f"Proxy-Authorization: Basic {login}\\r\\n"
"""
"""What attempts are made with, in the guest and, for controls, on the host; `patience` is set."""


class Arm(Protocol):
    """Opens a bottle with a door, from a part of a manifest."""

    def __call__(self, table: str) -> Bottle:
        """Return it; `table` is the TOML of `[bottles.default]`."""
        ...


class ArmedSubject(Subject):
    """Base of all attempts at the door."""

    image: ClassVar[str | None] = None
    """The image, where the backend's own default has no Python or no git."""

    @pytest.fixture(scope="class")
    @classmethod
    def allowed(cls) -> Iterator[Witness]:
        """Serve what the bottle may reach."""
        with witness() as seen:
            yield seen

    @pytest.fixture(scope="class")
    @classmethod
    def forbidden(cls) -> Iterator[Witness]:
        """Serve what it may not."""
        with witness() as seen:
            yield seen

    @pytest.fixture(scope="class")
    @classmethod
    def secret(cls) -> Iterator[str]:
        """Return the value of a declared secret."""
        value = f"escape{uuid.uuid4().hex}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(SECRET, value)
            yield value

    @pytest.fixture(scope="class")
    @classmethod
    def token(cls) -> Iterator[str]:
        """Return the value of a credential that stays outside."""
        value = f"token{uuid.uuid4().hex}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(TOKEN, value)
            yield value

    @pytest.fixture(scope="class")
    @classmethod
    def arm(cls, bottle_factory: Any, tmp_path_factory: pytest.TempPathFactory) -> Arm:  # noqa: ANN401 -- of the plugin
        """Return what opens further bottles."""

        def arm(table: str) -> Bottle:
            manifest = tmp_path_factory.mktemp("manifest") / "bottle.toml"
            manifest.write_text(f'[bottles.default]\nsecrets = ["{SECRET}"]\n{table}')
            chosen = {} if cls.image is None else {"image": cls.image}
            # Each is the only one of its kind: nothing would be branched from a golden one.
            bottle: Bottle = bottle_factory(
                backend=cls.backend, manifest=manifest, golden=False, **chosen
            )
            return bottle

        return arm

    @pytest.fixture(scope="class")
    @classmethod
    def armed(cls, arm: Arm, allowed: Witness, secret: str, token: str, upstream: Path) -> Bottle:
        """Open the bottle that most attempts are made from."""
        assert secret  # noqa: S101 -- it has to be set before
        assert token  # noqa: S101 -- it has to be set before
        return arm(everything(allowed, upstream))

    @pytest.fixture(scope="class")
    @classmethod
    def upstream(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Make a repository of this host with one commit."""
        path = tmp_path_factory.mktemp("upstream") / "app.git"
        git(path.parent, "init", "--quiet", "--bare", "--initial-branch=main", str(path))
        work = path.parent / "work"
        git(path.parent, "clone", "--quiet", str(path), str(work))
        (work / "README.md").write_text("# An app\n")
        git(work, "add", "README.md")
        git(work, "commit", "--quiet", "--message=Begin")
        git(work, "push", "--quiet", "origin", "HEAD:refs/heads/main")
        return path

    def attempt(self, bottle: Bottle, script: str, *arguments: Any) -> Any:  # noqa: ANN401 -- JSON
        """Run a script in the guest after `ASK`; return what it prints as JSON."""
        program = f"patience = {self.patience}\n{ASK}\n{script}"
        timeout = 90 * self.patience
        result = bottle.exec(
            [self.python, "-c", program], input=json.dumps(arguments), timeout=timeout
        ).check()
        return json.loads(result.stdout)

    def control(self, script: str, *arguments: Any) -> Any:  # noqa: ANN401 -- JSON
        """Run a script on this host after `ASK`, where there is no wall; see `attempt`."""
        env = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        argv = [sys.executable, "-c", f"patience = {self.patience}\n{ASK}\n{script}"]
        done = run(argv, input=json.dumps(arguments).encode(), env=env, timeout=90 * self.patience)
        return json.loads(done.stdout)


def everything(allowed: Witness, upstream: Path) -> str:
    """Return the table of a bottle with all parts of a door."""
    return f"""
supervise = true
[bottles.default.egress]
allow = ["{allowed.place}", "*.escape.test"]
[[bottles.default.egress.routes]]
host = "{allowed.place}"
paths = ["/with-credential"]
auth = {{scheme = "bearer", token_ref = "{TOKEN}"}}
[bottles.default.git]
user = {{name = "Agent", email = "agent@example.org"}}
[bottles.default.git.remotes.app]
url = "{upstream}"
allow_push = ["refs/heads/agent/*"]
"""


def git(cwd: Path, *arguments: str) -> str:
    """Run git on this host; return what it says."""
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Host",
        "GIT_AUTHOR_EMAIL": "host@example.org",
        "GIT_COMMITTER_NAME": "Host",
        "GIT_COMMITTER_EMAIL": "host@example.org",
    }
    done = run(["git", *arguments], cwd=cwd, env=env, timeout=60)
    assert done.returncode == 0, done.stderr.decode()  # noqa: S101 -- a check's own control
    return done.stdout.decode()
