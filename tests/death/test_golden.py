"""Golden bottles and branches end with whom they belong to, wherever that was killed."""

from __future__ import annotations

import functools

import pytest

from tests.death.conftest import kill
from tests.death.remains import eventually

BACKENDS = (
    "bubblewrap",
    pytest.param("docker", marks=pytest.mark.bottle_requires("docker")),
)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("phase", ["launched", "branched", "test"])
@pytest.mark.parametrize("options", [("-n", "2"), ("-p", "no:xdist")], ids=["controller", "alone"])
def test_nothing_remains_of_a_killed_run(scene, start_run, backend, phase, options):
    run = start_run("golden.py", *options, backend=backend, phase=phase)
    run.paused()
    assert scene.bottles()

    kill(run.process.pid)

    assert eventually(lambda: not scene.remains()), scene.remains()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("phase", ["branched", "test"])
def test_a_workers_branches_go_with_it_and_the_golden_bottle_goes_on(
    scene, start_run, backend, phase
):
    run = start_run(
        *("golden_victim.py", "golden_witness.py", "-n", "2", "--dist", "loadfile"),
        backend=backend,
        phase=phase,
    )
    victim = run.paused()

    kill(victim)

    gone = functools.partial(scene.remains_of, run.paused_worker, run.process.pid)
    assert eventually(lambda: not gone()), gone()
    golden = (run.directory / "launched").read_text()
    assert golden in {path.name for path in scene.bottles()}
    (run.directory / "gone").touch()
    assert "1 failed, 2 passed" in run.finish()
    assert eventually(lambda: not scene.remains()), scene.remains()


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_remains_of_a_run_that_ended_well(scene, start_run, backend):
    run = start_run("golden.py", "-n", "2", backend=backend)
    assert eventually(lambda: bool(scene.bottles()), 30)
    scene.meet_runs()
    assert "3 passed" in run.finish()
    assert eventually(lambda: not scene.remains()), scene.remains()
