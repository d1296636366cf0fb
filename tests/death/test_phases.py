"""Whoever is killed, and wherever a bottle is on its way: nothing of it remains."""

from __future__ import annotations

import re

import pytest

from tests.death.conftest import kill
from tests.death.remains import eventually

PHASES = {
    "bubblewrap": ("prepare", "launch", "launched", "provision", "test", "teardown", "stopped"),
    "docker": ("prepare", "launch", "launched", "provision", "test", "teardown"),
}
"""What a bottle is about to go through; once it is `launched`, no journal knows its process yet."""

SANDBOXED = {"launched", "provision", "test", "teardown"}
"""The phases in which there is a sandbox."""

CASES = [
    pytest.param(
        backend, phase, marks=[pytest.mark.bottle_requires("docker")] if backend == "docker" else []
    )
    for backend, phases in PHASES.items()
    for phase in phases
]


@pytest.mark.parametrize(("backend", "phase"), CASES)
@pytest.mark.parametrize("victim", ["worker", "controller", "alone"])
def test_nothing_remains_of_the_killed(scene, start_run, backend, phase, victim):
    options = ["-n", "2"] if victim != "alone" else ["-p", "no:xdist"]
    run = start_run("suite.py", *options, backend=backend, phase=phase)
    stopped = run.paused()
    sandboxes = scene.containers() if backend == "docker" else scene.processes("bwrap")
    assert bool(sandboxes) or phase not in SANDBOXED

    kill(stopped if victim == "worker" else run.process.pid)
    if victim == "worker":
        # xdist starts another worker; a test that was torn down already had passed before.
        assert re.search(r"1 failed, [34] passed", run.finish())

    assert eventually(lambda: not scene.remains()), scene.remains()
