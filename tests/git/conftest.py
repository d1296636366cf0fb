"""What these tests share: bottles whose manifest names upstreams that each test made."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.manifest import load_manifest
from tests.git.upstreams import TOKEN
from tests.git.upstreams import USER
from tests.git.upstreams import make_repository
from tests.git.upstreams import served

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_bottle import Bottle
    from pytest_bottle.backends.base import ExecResult
    from pytest_bottle.manifest import Manifest
    from tests.git.upstreams import Server

SECRET = "k9-Vq7Lw2-TzR4-moonlit-anchovy"
"""The value of a declared secret, which must not leave."""

FILES = {"README.md": "# App\n", "app.py": "import os\n\nprint('hello')\n"}


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """A bare repository on this host, which stands for a real one."""
    directory = tmp_path / "upstreams"
    directory.mkdir()
    return make_repository(directory / "app.git", FILES)


@pytest.fixture
def server(upstream: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An HTTPS server that has it, and counts who asks."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UPSTREAM_TOKEN", TOKEN)
    with served(upstream.parent) as server:
        monkeypatch.setenv("GIT_SSL_CAINFO", str(server.certificate))
        yield server


@pytest.fixture
def remotes() -> str:
    """What the bottle's manifest says of its remotes; for modules to say otherwise."""
    return "[bottles.box.git.remotes.origin]\n"


@pytest.fixture
def bottle_manifest(tmp_path: Path, remotes: str, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    monkeypatch.setenv("APP_SECRET", SECRET)
    path = tmp_path / "bottle.toml"
    path.write_text(
        '[bottles.box]\nsecrets = ["APP_SECRET"]\ntimeout = "90s"\n'
        'git.user = { name = "Agent", email = "agent@example.org" }\n' + remotes
    )
    return load_manifest(path)


@pytest.fixture
def sh(bottle: Bottle) -> Callable[..., ExecResult]:
    """Run lines of shell in the bottle; its arguments take the place of `{}`, quoted."""

    def sh(script: str, *arguments: str, check: bool = True) -> ExecResult:
        text = script.format(*map(shlex.quote, arguments)) if arguments else script
        done = bottle.exec(["sh", "-ec", text])
        return done.check() if check else done

    return sh


def https_remote(server: Server, more: str = "") -> str:
    """Return the manifest's part for a remote that needs the token."""
    return (
        f'[bottles.box.git.remotes.origin]\nurl = "{server.url}/app.git"\n{more}\n'
        f'auth = {{ scheme = "basic", username = "{USER}", token_ref = "UPSTREAM_TOKEN" }}\n'
    )
