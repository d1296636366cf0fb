"""What unit tests of state share: a state directory of their own, and real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import pytest_bottle
from pytest_bottle.state.directory import STATE_VARIABLE
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.run import Run

StartPython = Callable[..., "subprocess.Popen[str]"]

RUN_ID = "0123456789abcdef"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of this test alone, which its processes inherit."""
    root = tmp_path / "state"
    monkeypatch.setenv(STATE_VARIABLE, str(root))
    return root


@pytest.fixture
def run(root: Path) -> Iterator[Run]:  # noqa: ARG001 - where the run lies
    """A run of which this process is the controller and the only worker."""
    run = Run.join(RUN_ID, "main", Owner.current())
    yield run
    run.journal.close()


@pytest.fixture
def start_python(root: Path) -> Iterator[StartPython]:  # noqa: ARG001 - inherited by them
    """Start a script in a Python of its own; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
        environment = os.environ | {"PYTHONPATH": str(Path(pytest_bottle.__file__).parents[1])}
        process: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, "-c", script, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
