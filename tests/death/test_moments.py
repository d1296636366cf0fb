"""A launch is many steps of several processes: no moment between two of them is unsafe."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import pytest_bottle
from tests.death.conftest import INNER
from tests.death.conftest import kill
from tests.death.remains import Scene
from tests.death.remains import command_line
from tests.death.remains import eventually
from tests.death.remains import put_on

MOMENTS = [0.002 * number for number in range(16)]
"""Seconds after a bottle's end: the next is launched, provisioned and ended in about 30 ms."""


FIRST_MOMENTS = [0.025 * number for number in range(16)]
"""Seconds in which a run gets its directory, its watchdog and its first bottle."""


@contextmanager
def launching(scene, script="launch_forever.py"):
    """Start a process that launches one bottle after the other, or the one that a script does."""
    process = subprocess.Popen(
        [sys.executable, INNER / script],
        env={
            **os.environ,
            "BOTTLE_STATE_DIR": str(scene.root),
            "TMPDIR": str(scene.temporary),
            "PYTHONPATH": str(Path(pytest_bottle.__file__).parents[1]),
            "DEATH_BACKEND": "bubblewrap",
        },
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: put_on(scene.brand),  # noqa: PLW1509 - started from one thread
    )
    with process:
        assert process.stdout is not None
        scene.run_ids.add(process.stdout.readline().strip())
        yield process.pid
        process.kill()


def broker_of(pid: int, scene: Scene) -> int:
    """Return the broker that a process started."""
    (broker,) = [
        child
        for child in scene.processes("bubblewrap.broker")
        if f"PPid:\t{pid}\n" in Path(f"/proc/{child}/status").read_text()
    ]
    return broker


def ended(pid: int) -> bool:
    return not command_line(pid)


@pytest.mark.parametrize("victim", ["launcher", "broker"])
def test_nothing_remains_whenever_it_is_killed(scene, victim):
    for moment in MOMENTS:
        with launching(scene) as launcher:
            broker = broker_of(launcher, scene)
            time.sleep(moment)
            kill(launcher if victim == "launcher" else broker)
            assert eventually(functools.partial(ended, broker), 1)
    assert eventually(lambda: not scene.remains()), scene.remains()


def test_nothing_remains_whenever_a_run_is_killed_as_it_begins(scene):
    for moment in FIRST_MOMENTS:
        with launching(scene, "launch_first.py") as launcher:
            time.sleep(moment)
            kill(launcher)
        # Each time, as the next run would sweep.
        assert eventually(lambda: not scene.remains()), scene.remains()
