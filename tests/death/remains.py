"""What is on this host of one inner pytest run: found by what it cannot shed, not by its records.

Every process of an inner run is branded: it inherits a limit that nothing here uses, with a number
that nobody else has, over fork, exec, new sessions, namespaces and the deaths of its parents.
"""

from __future__ import annotations

import os
import random
import re
import resource
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

GONE_WITHIN = 10.0
"""Seconds after a death in which everything of the dead has to be gone."""

_OF_THE_RUN = (
    "pytest_bottle.watchdog",
    "pytest_bottle.gateway.main",
    "pytest_bottle.gateway.egress.program",
    "pytest_bottle.gateway.git.minding",
)
"""Processes that a run has one of, whichever of its workers needed them first."""

_BRAND = resource.RLIMIT_MSGQUEUE if sys.platform == "linux" else -1
_BRANDS = range(1_000, 800_000)


def unused_brand() -> int:
    """Return a number that no process of this host is branded with."""
    while True:
        brand = random.choice(_BRANDS)
        if not branded(brand):
            return brand


def put_on(brand: int) -> None:
    """Brand this process, and so all that will descend from it."""
    resource.setrlimit(_BRAND, (brand, resource.getrlimit(_BRAND)[1]))


def branded(brand: int) -> list[int]:
    """Return the living processes that have a brand; a zombie is dead."""
    pids = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            limit = re.search(
                r"^Max msgqueue size +(\d+)", (entry / "limits").read_text(), re.MULTILINE
            )
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if limit is not None and int(limit[1]) == brand and state not in "ZX":
                pids.append(int(entry.name))
    return pids


def command_line(pid: int) -> str:
    """Return a process's command line; empty where it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    return ""


def ancestors(pid: int) -> list[int]:
    """Return the pids of a process, of its parent, and so on."""
    found = []
    with suppress(OSError):
        while pid:
            found.append(pid)
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found


def _is_free(slot: Path) -> bool:
    """A slot's file names its owner, whose number comes first."""
    return not command_line(int(slot.name.split(",")[3].partition(":")[0]))


@dataclass
class Scene:
    """The places where remains of inner runs, which share a state directory, can be."""

    root: Path
    """The state directory."""
    temporary: Path
    """The runs' TMPDIR."""
    brand: int = field(default_factory=unused_brand)
    run_ids: set[str] = field(default_factory=set)
    engine: Any = None
    """The client of the engine that they use, if they use one."""

    def use_engine(self, engine: Any) -> None:
        """Look for remains on an engine, too; by its client."""
        self.engine = engine

    def meet_runs(self) -> None:
        """Note the ids of the runs that are under way."""
        self.run_ids.update(path.name for path in (self.root / "runs").glob("[!.]*"))

    def remains(self) -> list[str]:
        """Describe everything that is there now, a line each."""
        return [
            *(f"process {pid}: {command_line(pid)[:150]}" for pid in branded(self.brand)),
            *(f"control group {path}" for path in self.control_groups()),
            *(f"mount {line}" for line in self._mounts()),
            *(f"{kind} {name}" for kind, name in self._engine_objects()),
            *(f"file {path}" for path in self._files()),
        ]

    def remains_of(self, worker: str, controller: int) -> list[str]:
        """Describe what is there now of a dead worker, while its run goes on, a line each.

        Whatever it started has lost its way up to the controller.
        """
        mark = f"-{worker}-"
        strays = [
            pid
            for pid in branded(self.brand)
            if controller not in ancestors(pid)
            and not any(part in command_line(pid) for part in _OF_THE_RUN)
        ]
        records = {"journal", "names"}
        return [
            *(f"process {pid}: {command_line(pid)[:150]}" for pid in strays),
            *(f"control group {path}" for path in self.control_groups() if mark in path.name),
            *(f"mount {line}" for line in self._mounts() if mark in line),
            *(f"{kind} {name}" for kind, name in self._engine_objects() if mark in name),
            *(f"file {path}" for path in self.temporary.iterdir()),
            *(f"slot {path}" for path in (self.root / "slots").glob("*/*,*") if _is_free(path)),
            # Not by a glob: it fails where another worker's bottle goes while it looks.
            *(
                f"file {parent}/{name}"
                for parent, directories, files in os.walk(self.root / "runs")
                for name in (*directories, *files)
                if mark in name and Path(parent).name not in records
            ),
        ]

    def processes(self, *words: str) -> list[int]:
        """Return the runs' processes whose command lines have all the words."""
        return [
            pid for pid in branded(self.brand) if all(word in command_line(pid) for word in words)
        ]

    def bottles(self) -> list[Path]:
        """Return the directories of the runs' bottles."""
        return list((self.root / "runs").glob("*/bottle-*"))

    def control_groups(self) -> list[Path]:
        """Return the groups that backends and engines made for the runs' sandboxes."""
        prefixes = tuple(f"bottle-{run_id[:8]}-" for run_id in self.run_ids)
        found = []
        for parent, names, _ in os.walk("/sys/fs/cgroup"):
            if Path(parent).name == "pytest-bottle":
                found += [Path(parent) / name for name in names if name.startswith(prefixes)]
        return found

    def containers(self) -> list[str]:
        """Return the names of the runs' containers."""
        return [name for kind, name in self._engine_objects() if kind == "container"]

    def _mounts(self) -> list[str]:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line for line in lines if str(self.root) in line]

    def _engine_objects(self) -> Iterator[tuple[str, str]]:
        if self.engine is None:
            return
        for run_id in self.run_ids:
            filters = {"label": f"pytest-bottle.run={run_id}"}
            for container in self.engine.containers(all=True, filters=filters):
                # Halfway through its removal it has no name any more.
                name = (container["Names"] or [container["Id"]])[0]
                yield "container", f"{name} ({container['State']})"
            for image in self.engine.images(filters=filters):
                yield "image", " ".join(image["RepoTags"] or [image["Id"]])
            for network in self.engine.networks(filters=filters):
                yield "network", network["Name"]
            for volume in self.engine.volumes(filters=filters)["Volumes"] or ():
                yield "volume", volume["Name"]

    def _files(self) -> Iterator[Path]:
        """Yield what belongs to single runs, and not to the state directory as such."""
        yield from self.temporary.iterdir()
        with suppress(FileNotFoundError):
            yield from (self.root / "runs").iterdir()
        for path in (self.root / "slots").glob("*/*"):
            if path.name != "lock":
                yield path


def eventually(true: Callable[[], Any], seconds: float = GONE_WITHIN) -> bool:
    """Whether something becomes true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
