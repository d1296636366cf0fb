"""Hundreds of bottles, four at a time: all pass, and nothing of them leaks."""

from __future__ import annotations

import time
from contextlib import suppress

import psutil
import pytest

from tests.death.remains import branded
from tests.death.remains import eventually


def resident(brand: int) -> int:
    """Return the bytes that a run's processes hold together, each shared page divided fairly."""
    total = 0
    for pid in branded(brand):
        with suppress(psutil.Error):
            total += psutil.Process(pid).memory_full_info().pss
    return total


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("backend", "tests"),
    [
        ("bubblewrap", 500),
        pytest.param("docker", 100, marks=pytest.mark.bottle_requires("docker")),
    ],
)
def test_many_bottles(scene, start_run, record_property, backend, tests):
    began = time.monotonic()
    run = start_run("many.py", "-n", "4", "-q", backend=backend, DEATH_TESTS=str(tests))
    peak = most = 0
    while run.process.poll() is None:
        scene.meet_runs()
        peak = max(peak, resident(scene.brand))
        most = max(most, len(branded(scene.brand)))
        time.sleep(0.5)
    seconds = time.monotonic() - began

    assert f"{tests} passed" in run.finish()
    assert eventually(lambda: not scene.remains()), scene.remains()
    record_property("seconds", round(seconds, 1))
    record_property("peak_memory_mib", peak >> 20)
    print(
        f"\n{tests} {backend} tests with -n 4: {seconds:.1f} s, at most {peak / 2**20:.0f} MiB "
        f"in {most} processes of ours"
    )
