"""Why no engine can be used, and what the host's owner can do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.backends.base import Probe

if TYPE_CHECKING:
    from collections.abc import Mapping


def explain(host: str, words: str) -> tuple[str, str]:
    """Return what is wrong at `host`, where a call ended with `words`, and how to fix it."""
    lower = words.lower()
    if "permissionerror" in lower or "permission denied" in lower:
        return (
            f"the engine's socket {host} may not be used by this user.",
            "add the user to the group docker and log in again, or use a rootless engine",
        )
    if "filenotfounderror" in lower or "no such file" in lower:
        return (
            f"there is no socket {host}.",
            "install and start Docker (`docker info` must work), or set DOCKER_HOST",
        )
    if "connectionrefused" in lower or "connection refused" in lower:
        return (
            f"nothing listens at {host}.",
            "start the engine (`systemctl start docker`), or correct DOCKER_HOST",
        )
    if "timeout" in lower or "timed out" in lower:
        return (
            f"the engine at {host} does not answer in time.",
            "see its log (`journalctl -u docker`) and restart it",
        )
    if "paramiko" in lower or "sshhttpadapter" in lower:
        return (f"{host} needs the SDK's SSH support.", "pip install 'docker[ssh]'")
    return (f"the engine at {host} cannot be used: {words}.", "`docker version` must work first")


def judge(host: str, version: Mapping[str, Any]) -> Probe:
    """Return whether an engine that answered can run bottles."""
    system = f"{version.get('Os')}/{version.get('Arch')}"
    detail = f"Docker {version.get('Version')} ({system}) at {host}"
    if version.get("Os") != "linux":
        return Probe(
            ok=False,
            detail=f"{detail}: bottles are Linux containers.",
            fix="switch the engine to Linux containers",
        )
    return Probe(ok=True, detail=detail)
