"""What a host can do, found out by trying it.

Backends are capabilities too; their probes are their own.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import platform
import re
import shutil
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle import process
from pytest_bottle.backends.base import Probe
from pytest_bottle.errors import CapabilityError
from pytest_bottle.gateway.supervise import library

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping

_TIMEOUT: Final = 10.0
"""Seconds that a program gets to tell its version."""

_GIT: Final = (2, 30)
"""The oldest git that the git gate works with."""


def _system(name: str) -> Callable[[], Probe]:
    def probe() -> Probe:
        here = platform.system()
        return Probe(
            ok=here.lower() == name,
            detail=f"this host runs {here}",
            fix=f"run it on a host with {name.capitalize()}",
        )

    return probe


def _program(name: str, fix: str) -> Callable[[], Probe]:
    def probe() -> Probe:
        path = shutil.which(name)
        if path is None:
            return Probe(ok=False, detail=f"no {name} on PATH", fix=fix)
        try:
            done = process.run([path, "--version"], timeout=_TIMEOUT)
        except (OSError, TimeoutError) as problem:
            return Probe(ok=False, detail=f"{path} --version: {problem}", fix=fix)
        words = done.stdout.decode(errors="replace").strip().partition("\n")[0]
        return Probe(ok=done.returncode == 0, detail=f"{words or 'no version'} at {path}", fix=fix)

    return probe


def _git() -> Probe:
    fix = "install git 2.30 or newer, with its `git http-backend` (some have it in git-daemon)"
    answer = _program("git", fix)()
    if not answer.ok:
        return answer
    version = re.search(r"(\d+)\.(\d+)", answer.detail)
    if version is None or (int(version[1]), int(version[2])) < _GIT:
        return dataclasses.replace(answer, ok=False)
    try:
        done = process.run(["git", "--exec-path"], timeout=_TIMEOUT)
    except (OSError, TimeoutError) as problem:
        return Probe(ok=False, detail=f"git --exec-path: {problem}", fix=fix)
    backend = Path(os.fsdecode(done.stdout).strip(), "git-http-backend")
    if not backend.exists():
        return Probe(ok=False, detail=f"{answer.detail}, without {backend}", fix=fix)
    if importlib.util.find_spec("detect_secrets") is None:
        detail = f"{answer.detail}, without the package detect-secrets"
        return Probe(ok=False, detail=detail, fix="pip install 'pytest-bottle[git]'")
    return answer


def _agent_program(name: str, package: str) -> Callable[[], Probe]:
    # For bubblewrap, whose guest is the host's own file system; an image brings its own.
    fix = f"npm install -g {package}, or run it in the agent image: pytest-bottle image build"
    return _program(name, fix)


def _root() -> Probe:
    return Probe(ok=os.geteuid() == 0, detail=f"uid {os.geteuid()}", fix="run it as root")


def _kvm() -> Probe:
    from pytest_bottle.backends.smolmachines import virtualisation  # noqa: PLC0415 - rarely asked

    return virtualisation.probe_kvm()


def _agent_image() -> Probe:
    from pytest_bottle.backends.docker import agent_image  # noqa: PLC0415 - its SDK is an extra

    return agent_image.probe()


def _smolvm() -> Probe:
    from pytest_bottle.backends.smolmachines import backend  # noqa: PLC0415 - rarely asked

    return backend.SmolmachinesBackend().probe()


def _proxy() -> Probe:
    from pytest_bottle.gateway.egress import environment  # noqa: PLC0415 - rarely asked

    ok, detail, fix = environment.look()
    return Probe(ok=ok, detail=detail, fix=fix)


def _supervise() -> Probe:
    try:
        version = library.require_library()
    except CapabilityError as problem:
        return Probe(ok=False, detail=problem.reason, fix=problem.fix)
    return Probe(ok=True, detail=f"mcp {version}")


BUILTIN: Final[Mapping[str, Callable[[], Probe]]] = MappingProxyType(
    {
        "linux": _system("linux"),
        "darwin": _system("darwin"),
        "root": _root,
        "kvm": _kvm,
        "agent-image": _agent_image,
        "smolvm": _smolvm,
        "git": _git,
        "proxy": _proxy,
        "supervise": _supervise,
        "claude": _agent_program("claude", "@anthropic-ai/claude-code"),
        "codex": _agent_program("codex", "@openai/codex"),
    }
)
"""Probes by capability."""
