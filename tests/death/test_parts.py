"""Any one part of what holds a bottle up may be killed: the test is told, and nothing remains."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.death.conftest import kill
from tests.death.remains import GONE_WITHIN
from tests.death.remains import Scene
from tests.death.remains import eventually


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def broker(scene: Scene) -> int:
    """The broker is the one of the processes with its command line whose parent is not."""
    family = scene.processes("bubblewrap.broker")
    return next(pid for pid in family if parent_of(pid) not in family)


def keeper(scene: Scene) -> int:
    return next(
        pid for pid in scene.processes("bubblewrap.broker") if parent_of(pid) == broker(scene)
    )


def bwrap(scene: Scene) -> int:
    return scene.processes("bwrap --args")[0]


def first_process(scene: Scene) -> int:
    return next(pid for pid in scene.processes("/bin/sh -c echo ready"))


OWN = "test_lost", "test_next"
SHARED = "test_shared_lost", "test_shared_next"
"""Their bottle hangs on no broker any more: it outlives its worker."""


@pytest.mark.parametrize(
    ("part", "tests"),
    [
        pytest.param(part, tests, id=f"{part.__name__}-{word}")
        for word, tests, parts in (
            ("own", OWN, (broker, keeper, bwrap, first_process)),
            ("shared", SHARED, (keeper, bwrap, first_process)),
        )
        for part in parts
    ],
)
def test_the_test_is_an_infra_error_and_the_next_is_none(scene, start_run, part, tests):
    run = start_run(*(f"lost.py::{test}" for test in tests))
    run.paused()
    assert eventually(lambda: scene.processes("sleep 100"))

    kill(part(scene))

    output = run.finish(GONE_WITHIN)
    assert "1 passed, 1 infra error" in output
    assert eventually(lambda: not scene.remains(), 5), scene.remains()


def test_the_next_run_sweeps_what_even_the_watchdog_did_not(scene, start_run):
    run = start_run("lost.py::test_shared_lost")
    run.paused()
    kill(scene.processes("pytest_bottle.watchdog")[0])
    kill(run.process.pid)
    run.process.wait()
    assert bwrap(scene), "a shared bottle goes on"

    assert "1 passed" in start_run("lost.py::test_next").finish()
    assert eventually(lambda: not scene.remains()), scene.remains()


def test_a_bottle_gets_another_watchdog_where_the_first_was_killed(scene, start_run):
    run = start_run("lost.py::test_lost", "lost.py::test_shared_lost")
    run.paused()
    assert eventually(lambda: scene.processes("sleep 100"))
    kill(scene.processes("pytest_bottle.watchdog")[0])
    run.marker.unlink()
    kill(keeper(scene))

    run.paused()
    assert eventually(lambda: scene.processes("sleep 100"))
    kill(run.process.pid)
    run.process.wait()

    assert eventually(lambda: not scene.remains()), scene.remains()
