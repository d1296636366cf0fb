"""Whoever is killed, and wherever a bottle is on its way: nothing of it remains."""

from __future__ import annotations

import functools
import re

import pytest

from tests.death.conftest import kill
from tests.death.remains import Scene
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


def sandboxes(scene: Scene, backend: str) -> list[object]:
    return [*(scene.containers() if backend == "docker" else scene.processes("bwrap"))]


@pytest.mark.parametrize(("backend", "phase"), CASES)
@pytest.mark.parametrize("options", [("-n", "2"), ("-p", "no:xdist")], ids=["controller", "alone"])
def test_nothing_remains_of_a_killed_run(scene, start_run, backend, phase, options):
    run = start_run("suite.py", *options, backend=backend, phase=phase)
    run.paused()
    assert bool(sandboxes(scene, backend)) or phase not in SANDBOXED

    kill(run.process.pid)

    assert eventually(lambda: not scene.remains()), scene.remains()


@pytest.mark.parametrize(("backend", "phase"), CASES)
def test_nothing_remains_of_a_killed_worker_while_its_run_goes_on(scene, start_run, backend, phase):
    run = start_run(
        *("suite.py", "witness.py", "-n", "2", "--dist", "loadfile"), backend=backend, phase=phase
    )
    victim = run.paused()
    worker = run.paused_worker
    witness = run.directory / "witness"
    # In that phase the image is prepared, for which the other waits.
    assert phase == "prepare" or eventually(witness.exists)
    assert bool(sandboxes(scene, backend)) or phase not in SANDBOXED

    kill(victim)

    controller = run.process.pid
    gone = functools.partial(scene.remains_of, worker, controller)
    assert eventually(lambda: not gone()), gone()
    assert eventually(witness.exists)
    assert witness.read_text() in {path.name for path in scene.bottles()}
    assert run.process.poll() is None, "the run goes on"
    (run.directory / "gone").touch()
    # xdist starts another worker, for all four; one that was torn down had passed before.
    assert re.search(r"1 failed, [56] passed", run.finish())
    assert eventually(lambda: not scene.remains()), scene.remains()
