"""Whoever is killed before the first bottle leaves nothing either: no next run has to sweep."""

from __future__ import annotations

import pytest

from tests.death.conftest import kill
from tests.death.remains import eventually

ALONE = ("-p", "no:xdist")
WORKERS = ("-n", "2")
NAMES = {ALONE: "alone", WORKERS: "workers"}


@pytest.mark.parametrize("options", [ALONE, WORKERS], ids=NAMES.get)
@pytest.mark.parametrize("phase", ["probe", "probed", "collection"])
def test_a_run_that_is_killed_before_its_tests(scene, start_run, phase, options):
    """In the report's header, which opens a sandbox to try the backend, and while it collects."""
    run = start_run("suite.py", *options, phase=phase)
    run.paused()
    assert not list((scene.root / "runs").iterdir()), "it has nothing to share yet"
    assert not scene.processes("pytest_bottle.watchdog")

    kill(run.process.pid)

    assert eventually(lambda: not scene.remains()), scene.remains()


@pytest.mark.parametrize("options", [ALONE, WORKERS], ids=NAMES.get)
def test_a_run_that_is_killed_at_a_gate(scene, start_run, options):
    run = start_run("gated.py", *options, phase="gate")
    run.paused()

    kill(run.process.pid)

    assert eventually(lambda: not scene.remains()), scene.remains()


@pytest.mark.parametrize(("suite", "phase"), [("suite.py", "collection"), ("gated.py", "gate")])
def test_a_worker_that_is_killed_before_its_first_bottle(scene, start_run, suite, phase):
    run = start_run(suite, *WORKERS, phase=phase)
    victim, worker = run.paused(), run.paused_worker

    kill(victim)

    left = scene.remains_of(worker, run.process.pid)
    assert eventually(lambda: not scene.remains_of(worker, run.process.pid)), left
    run.finish()
    assert eventually(lambda: not scene.remains()), scene.remains()


def test_a_probe_that_is_killed_while_its_sandbox_stands(scene, start_run):
    run = start_run("suite.py", *ALONE, phase="opened")
    run.paused()
    assert scene.processes("bwrap")

    kill(run.process.pid)

    assert eventually(lambda: not scene.remains()), scene.remains()
