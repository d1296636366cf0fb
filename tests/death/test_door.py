"""A run has one door to models for all its workers: it goes with the run, and can be replaced."""

from __future__ import annotations

import re

import pytest

from tests.death.conftest import kill
from tests.death.remains import GONE_WITHIN
from tests.death.remains import Scene
from tests.death.remains import eventually

DOOR_GONE_WITHIN = 2.0
"""Seconds after the end of a run, whatever its end was."""

WORKERS = [
    pytest.param(("-n", "2"), "2", id="workers"),
    pytest.param(("-p", "no:xdist"), "1", id="alone"),
]


def doors(scene: Scene) -> list[int]:
    return scene.processes("pytest_bottle.gateway.main")


@pytest.mark.parametrize(("options", "workers"), WORKERS)
def test_all_workers_share_a_door_that_ends_with_the_run(scene, start_run, options, workers):
    run = start_run("asking.py", *options, phase="test", DEATH_WORKERS=workers)
    run.paused()
    assert len(doors(scene)) == 1

    run.resume()

    assert "4 passed" in run.finish()
    assert eventually(lambda: not doors(scene), DOOR_GONE_WITHIN)
    assert eventually(lambda: not scene.remains()), scene.remains()


@pytest.mark.parametrize(("options", "workers"), WORKERS)
def test_the_door_goes_with_a_run_that_is_killed(scene, start_run, options, workers):
    run = start_run("asking.py", *options, phase="test", DEATH_WORKERS=workers)
    run.paused()
    assert len(doors(scene)) == 1

    kill(run.process.pid)

    assert eventually(lambda: not doors(scene), DOOR_GONE_WITHIN)
    assert eventually(lambda: not scene.remains()), scene.remains()


def test_the_door_stays_when_a_worker_is_killed(scene, start_run):
    """The others go on with it, and so does who takes the dead one's place."""
    run = start_run(
        *("asking.py", "-n", "2"), phase="test", DEATH_WORKERS="2", DEATH_HOLD="until it is gone"
    )
    victim = run.paused()
    worker, controller = run.paused_worker, run.process.pid
    before = doors(scene)

    kill(victim)

    assert eventually(lambda: not scene.remains_of(worker, controller))
    assert doors(scene) == before
    (run.directory / "gone").touch()
    assert "1 failed, 3 passed" in run.finish()
    assert eventually(lambda: not scene.remains()), scene.remains()


@pytest.mark.parametrize(("options", "workers"), WORKERS)
def test_a_door_that_is_killed_is_an_infra_error_and_the_next_bottle_gets_another(
    scene, start_run, options, workers
):
    run = start_run("asking.py", *options, phase="test", DEATH_WORKERS=workers)
    run.paused()
    (door,) = doors(scene)

    kill(door)
    run.resume()

    output = run.finish()
    assert " infra error" in output
    assert not re.search(r"\d failed", output)
    assert " passed" in output, "the next bottle got a door"
    assert eventually(lambda: not scene.remains(), GONE_WITHIN), scene.remains()


def test_a_door_that_is_killed_can_be_retried(scene, start_run):
    run = start_run(
        *("asking.py", "-p", "no:xdist", "--bottle-infra-retries=1"),
        phase="test",
        DEATH_WORKERS="1",
    )
    run.paused()
    (door,) = doors(scene)

    kill(door)
    run.resume()

    assert "4 passed" in run.finish()
    assert eventually(lambda: not scene.remains()), scene.remains()
