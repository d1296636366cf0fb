"""A worker's death takes down what that worker owned, and nothing else."""

from __future__ import annotations

import pytest

from tests.death.conftest import kill
from tests.death.remains import eventually

BACKENDS = (
    "bubblewrap",
    pytest.param("docker", marks=pytest.mark.bottle_requires("docker")),
)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_others_own_or_share_goes_on(scene, start_run, backend):
    run = start_run(
        *("together_victim.py", "together_witness.py", "-n", "2", "--dist", "loadfile"),
        backend=backend,
    )
    victim = run.paused()
    assert len(scene.bottles()) == 3, "one is shared, and each worker has one"

    kill(victim)
    (run.directory / "killed").touch()
    assert eventually(lambda: len(scene.bottles()) == 2), scene.bottles()
    (run.directory / "gone").touch()

    assert "1 failed, 2 passed" in run.finish()
    assert eventually(lambda: not scene.remains()), scene.remains()
