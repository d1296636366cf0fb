"""Inner pytest runs, which tests of this directory start, kill, and look for remains of."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import pytest_bottle
from tests.death.remains import Scene
from tests.death.remains import branded
from tests.death.remains import eventually
from tests.death.remains import put_on

INNER = Path(__file__).parent / "inner"

LONGEST_START = 30.0
"""Seconds from the start of an inner run to the point where it stops."""


class InnerRun:
    """One inner pytest run."""

    def __init__(self, scene: Scene, directory: Path, process: subprocess.Popen[bytes]) -> None:
        self._scene = scene
        self.directory = directory
        self.process = process

    @property
    def marker(self) -> Path:
        """The file that a process of the run makes where it stops."""
        return self.directory / "marker"

    def paused(self, within: float = LONGEST_START) -> int:
        """Wait until a process of the run has stopped, and return its pid."""
        arrived = eventually(
            lambda: self.marker.exists() or self.process.poll() is not None, within
        )
        assert arrived, "the run never came to the point"
        assert self.marker.exists(), self.finish()
        self._scene.meet_runs()
        return int(self.marker.read_text().partition(" ")[0] or 0)

    @property
    def paused_worker(self) -> str:
        """The name of the worker that has stopped."""
        return self.marker.read_text().partition(" ")[2]

    def resume(self) -> None:
        """Let what has stopped go on."""
        self.marker.unlink()

    def finish(self, seconds: float = 60.0) -> str:
        """Wait for the run's end and return what it wrote."""
        self.process.wait(seconds)
        return (self.directory / "output").read_text()


StartRun = Callable[..., InnerRun]


@pytest.fixture
def scene() -> Iterator[Scene]:
    """An own state directory, with a path short enough for sockets, and what is found there."""
    directory = Path(tempfile.mkdtemp(prefix="bd-", dir="/tmp"))
    directory.chmod(0o711)  # Sandboxes of root's run bwrap from there as somebody else.
    temporary = directory / "tmp"
    temporary.mkdir()
    scene = Scene(directory / "state", temporary)
    yield scene
    if scene.engine is not None:
        scene.engine.close()
    for pid in branded(scene.brand):
        with suppress(ProcessLookupError):
            kill(pid)
    eventually(lambda: not branded(scene.brand))
    for group in scene.control_groups():
        eventually(functools.partial(_removed, group), 2)
    shutil.rmtree(directory)


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


@pytest.fixture
def start_run(scene: Scene, tmp_path: Path) -> Iterator[StartRun]:
    """Start an inner run of a suite of `inner/`, stopping where it is told to."""
    started: list[subprocess.Popen[bytes]] = []

    def start(
        *arguments: str,
        backend: str = "bubblewrap",
        phase: str = "",
        manifest: str = "",
        **environment: str,
    ) -> InnerRun:
        directory = tmp_path / f"run-{len(list(tmp_path.glob('run-*')))}"
        directory.mkdir()
        (directory / "pytest.ini").touch()
        if manifest:
            (directory / "bottle.toml").write_text(manifest)
        for file in INNER.glob("*.py"):
            shutil.copy(file, directory)
        if backend == "docker" and scene.engine is None:
            scene.use_engine(pytest.importorskip("docker").from_env().api)
        output = (directory / "output").open("w")
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "pytest", "-p", "pausing", "-p", "no:cacheprovider"),
                *("-p", "no:randomly"),
                *(f"--basetemp={directory / 'basetemp'}", f"--bottle-backend={backend}"),
                *arguments,
            ],
            cwd=directory,
            env={
                **os.environ,
                "BOTTLE_STATE_DIR": str(scene.root),
                "TMPDIR": str(scene.temporary),
                "PYTHONPATH": f"{directory}:{Path(pytest_bottle.__file__).parents[1]}",
                "PYTHONDONTWRITEBYTECODE": "1",
                "DEATH_BACKEND": backend,
                "DEATH_PHASE": phase,
                "DEATH_MARKER": str(directory / "marker"),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=lambda: put_on(scene.brand),  # noqa: PLW1509
        )
        output.close()
        started.append(process)
        return InnerRun(scene, directory, process)

    yield start
    for process in started:
        process.kill()
        process.wait()


def kill(pid: int) -> None:
    """Kill a process at once, as the kernel does when memory runs out."""
    os.kill(pid, signal.SIGKILL)
