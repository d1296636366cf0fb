"""Control groups: real bounds on a sandbox's memory, processes and CPU, where the host permits.

Version 2 is used where its controllers can be enabled, version 1 where it is mounted, nothing where
neither may be written; the backend then falls back to per-process limits and says so.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.errors import TeardownError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.plan import Limits

PARENT_NAME: Final = "pytest-bottle"
_CPU_PERIOD: Final = 100_000
"""Microseconds; the kernel's default."""
_REMOVE_DEADLINE: Final = 5.0
_CONTROLLERS: Final = ("memory", "pids", "cpu")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where sandboxes' groups are made: one directory for all controllers, or one for each."""

    version: int
    parents: Mapping[str, Path]
    """By controller: memory, pids, cpu; absent where it cannot be had."""

    def paths(self, name: str) -> list[Path]:
        """Return the directories of one sandbox's group."""
        return sorted({parent / name for parent in self.parents.values()})


@functools.cache
def find_hierarchy() -> Hierarchy | None:
    """Return where this process may make groups; found once, by making one."""
    own = _own_groups()
    for candidate in (_version_2(), _version_1(own)):
        if candidate is None:
            continue
        # One name for all processes: where one dies in between, the next removes it.
        probes = candidate.paths("probe")
        try:
            for path in probes:
                path.mkdir(exist_ok=True)
            remove(probes)
        except (OSError, TeardownError):
            continue
        return candidate
    return None


def _own_groups() -> dict[str, str]:
    """Return this process's group by controller."""
    groups = {}
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            groups[controller] = path
    return groups


def _version_2() -> Hierarchy | None:
    """Return the unified hierarchy, where its controllers can be passed to children."""
    root = Path("/sys/fs/cgroup")
    parent = root / PARENT_NAME
    try:
        if not set(_CONTROLLERS) <= set((root / "cgroup.controllers").read_text().split()):
            return None
        enable = " ".join(f"+{name}" for name in _CONTROLLERS)
        (root / "cgroup.subtree_control").write_text(enable)
        parent.mkdir(exist_ok=True)
        (parent / "cgroup.subtree_control").write_text(enable)
    except OSError:
        return None
    return Hierarchy(2, dict.fromkeys(_CONTROLLERS, parent))


def _version_1(own: Mapping[str, str]) -> Hierarchy | None:
    """Return the controllers of version 1 that may be written."""
    parents = {}
    for controller in _CONTROLLERS:
        mount = Path("/sys/fs/cgroup") / controller
        here = mount / own.get(controller, "/").lstrip("/")
        parent = (here if here.is_dir() else mount) / PARENT_NAME
        try:
            parent.mkdir(exist_ok=True)
        except OSError:
            continue
        if os.access(parent, os.W_OK):
            parents[controller] = parent
    return Hierarchy(1, parents) if parents else None


def create(hierarchy: Hierarchy, name: str, limits: Limits) -> list[int]:
    """Make a sandbox's group with its limits; return open `cgroup.procs` files to join it by.

    Raises:
        OSError: the kernel refused a group or a limit; nothing of it remains.
    """
    fds: list[int] = []
    try:
        for controller, parent in hierarchy.parents.items():
            path = parent / name
            path.mkdir(exist_ok=True)
            for file, value in _settings(hierarchy.version, controller, limits):
                if (path / file).exists():
                    (path / file).write_text(value)
        fds += [
            os.open(path / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
            for path in hierarchy.paths(name)
        ]
    except OSError:
        for fd in fds:
            os.close(fd)
        remove(hierarchy.paths(name))
        raise
    return fds


def _settings(version: int, controller: str, limits: Limits) -> list[tuple[str, str]]:
    """Return the files of a controller's group and what to write to them."""
    if controller == "memory" and limits.memory is not None:
        size = str(limits.memory)
        if version == 1:
            return [("memory.limit_in_bytes", size), ("memory.memsw.limit_in_bytes", size)]
        return [("memory.max", size), ("memory.swap.max", "0")]
    if controller == "pids" and limits.pids is not None:
        return [("pids.max", str(limits.pids))]
    if controller == "cpu" and limits.cpus is not None:
        quota = int(limits.cpus * _CPU_PERIOD)
        if version == 1:
            return [("cpu.cfs_period_us", str(_CPU_PERIOD)), ("cpu.cfs_quota_us", str(quota))]
        return [("cpu.max", f"{quota} {_CPU_PERIOD}")]
    return []


def remove(paths: list[Path], *, kill: bool = False) -> None:
    """Remove groups whose processes have ended or are about to; absent ones are fine.

    Args:
        paths: Their directories.
        kill: End the processes that are still in them.

    Raises:
        TeardownError: one is still in use after 5 seconds.
    """
    deadline = time.monotonic() + _REMOVE_DEADLINE
    for path in paths:
        while True:
            if kill:
                _kill_members(path)
            try:
                path.rmdir()
            except FileNotFoundError:
                break
            except OSError as problem:
                # The kernel frees a group a moment after its last process has ended.
                if time.monotonic() > deadline:
                    message = f"control group {path} is still in use: {problem}"
                    raise TeardownError(message) from problem
                time.sleep(0.002)
            else:
                break


def _kill_members(path: Path) -> None:
    try:
        pids = [int(line) for line in (path / "cgroup.procs").read_text().split()]
    except OSError:
        return
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
