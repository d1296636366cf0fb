"""What a host can do, found out by trying it.

Backends are capabilities too; their probes are their own.
"""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle import process
from pytest_bottle.backends.base import Probe

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping

_TIMEOUT: Final = 10.0
"""Seconds that a program gets to tell its version."""


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


def _root() -> Probe:
    return Probe(ok=os.geteuid() == 0, detail=f"uid {os.geteuid()}", fix="run it as root")


def _kvm() -> Probe:
    device = Path("/dev/kvm")
    if not device.exists():
        return Probe(
            ok=False,
            detail="there is no /dev/kvm",
            fix="use a Linux host with hardware virtualisation, nested if it is a guest itself",
        )
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as problem:
        return Probe(
            ok=False, detail=f"/dev/kvm: {problem.strerror}", fix="add the user to the group kvm"
        )
    flags = set(Path("/proc/cpuinfo").read_text(errors="replace").split())
    if platform.machine() == "x86_64" and not flags & {"vmx", "svm"}:
        return Probe(
            ok=False,
            detail="/dev/kvm opens, but the CPU shows neither vmx nor svm, so no guest would boot",
            fix="enable nested virtualisation for this host",
        )
    return Probe(ok=True, detail="/dev/kvm opens")


def _smolvm() -> Probe:
    engine = shutil.which("smolvm")
    seen = f"{engine} is there" if engine else "no smolvm on PATH"
    return Probe(
        ok=False,
        detail=f"{seen}; this release has no smolmachines backend that could boot a guest",
        fix="use the bubblewrap or docker backend",
    )


BUILTIN: Final[Mapping[str, Callable[[], Probe]]] = MappingProxyType(
    {
        "linux": _system("linux"),
        "darwin": _system("darwin"),
        "root": _root,
        "kvm": _kvm,
        "smolvm": _smolvm,
        "git": _program("git", "install git"),
        "claude": _program("claude", "npm install -g @anthropic-ai/claude-code"),
        "codex": _program("codex", "npm install -g @openai/codex"),
    }
)
"""Probes by capability."""
