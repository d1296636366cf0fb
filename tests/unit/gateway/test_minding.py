"""Programs of a process that is killed are killed as well, with what they started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_bottle import process
from pytest_bottle.gateway.git.minding import Minder
from tests.unit.gateway.doors import eventually

PARENT = """
import subprocess, sys, time
from pytest_bottle.gateway.git.minding import MINDER
command = ["/bin/sh", "-c", "sleep 300 & echo $! && wait"]
for fate in sys.argv[1:]:
    one = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    MINDER.mind(one.pid)
    if fate == "released":
        MINDER.release(one.pid)
    print(one.pid, int(one.stdout.readline()), flush=True)
time.sleep(300)
"""
"""Prints, of each program that it starts, its group and a child of it."""


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture
def start_parent():
    """Start a process that minds programs, and return it with the pids of theirs."""
    started: list[tuple[Any, list[list[int]]]] = []

    def start(*fates):
        parent: Any = subprocess.Popen(
            [sys.executable, "-c", PARENT, *fates],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        groups: list[list[int]] = []
        started.append((parent, groups))
        groups.extend([int(pid) for pid in parent.stdout.readline().split()] for _ in fates)
        return parent, groups

    yield start
    for parent, groups in started:
        parent.kill()
        parent.wait()
        parent.stdout.close()
        for group, _ in groups:
            if lives(group):
                os.killpg(group, signal.SIGKILL)


def test_what_is_minded_dies_with_its_process(start_parent):
    parent, groups = start_parent("minded", "minded")
    pids = [pid for group in groups for pid in group]
    assert all(map(lives, pids))
    parent.kill()
    assert eventually(lambda: not any(map(lives, pids)), 10)


def test_what_was_released_is_left_alone(start_parent):
    """Its number may be another's by then."""
    parent, (first, second, third) = start_parent("minded", "released", "minded")
    parent.kill()
    assert eventually(lambda: not any(map(lives, [*first, *third])), 10)
    assert all(map(lives, second))


def test_a_minder_that_was_killed_is_replaced():
    """The next program that is started finds out."""
    minder = Minder()
    sleeping = [process.start(["sleep", "300"]) for _ in range(2)]
    minder.mind(sleeping[0].pid)
    shell = shell_of(minder)
    shell.kill()
    shell.wait()
    minder.mind(sleeping[1].pid)
    shell = shell_of(minder)
    assert shell.stdin is not None
    shell.stdin.close()  # As the end of this process would.
    assert eventually(lambda: all(one.poll() is not None for one in sleeping), 10)
    assert shell.wait(10) == 0


def shell_of(minder: Minder) -> process.Process:
    shell = minder._shell
    assert shell is not None
    return shell
