"""Whoever is killed, no machine of theirs remains."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.backends.smolmachines.labels import RUN_LABEL
from tests.bubblewrap.conftest import eventually
from tests.smolvm.conftest import PATIENCE

if TYPE_CHECKING:
    from pytest_bottle.backends.smolmachines.smolvm import Smolvm

pytestmark = pytest.mark.slow

RETRIES = ["--bottle-infra-retries=2"]
"""A machine that does not boot in time is another test's concern."""

SUITE = """\
import os, time
import pytest

@pytest.mark.bottle(backend="smolmachines", memory="256M", golden=True)
def test_bottle(bottle):
    with open("up.draft", "w") as file:
        file.write(f"{os.getpid()} {bottle.plan.run_id}")
    os.rename("up.draft", "up")
    time.sleep(1000)
"""


@pytest.fixture
def run(tmp_path):
    """Start an inner run, which stops in its test."""
    (tmp_path / "pytest.ini").touch()
    (tmp_path / "test_suite.py").write_text(SUITE)
    started = []

    def start(*arguments: str) -> tuple[subprocess.Popen[bytes], int, str]:
        with (tmp_path / "output").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *RETRIES, *arguments],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        started.append(process)
        up = Path(tmp_path / "up")
        assert eventually(lambda: up.exists() or process.poll() is not None, 5 * PATIENCE)
        assert up.exists(), (tmp_path / "output").read_text()
        pid, run_id = up.read_text().split()
        return process, int(pid), run_id

    yield start
    for process in started:
        process.kill()
        process.wait()


def machines_of(smolvm: Smolvm, run_id: str) -> list[str]:
    return [one.name for one in smolvm.machine_ls() if one.labels.get(RUN_LABEL) == run_id]


def test_of_a_killed_controller(run, smolvm):
    process, _, run_id = run()
    assert machines_of(smolvm, run_id)
    process.kill()
    assert eventually(lambda: not machines_of(smolvm, run_id), PATIENCE)


def test_of_a_killed_worker(run, smolvm):
    """What is golden is the run's, and goes with it; the controller is told to end."""
    process, worker, run_id = run("-n", "1", "--max-worker-restart=0")
    before = machines_of(smolvm, run_id)
    os.kill(worker, signal.SIGKILL)
    assert eventually(lambda: len(machines_of(smolvm, run_id)) < len(before), PATIENCE)
    process.wait(PATIENCE)
    assert eventually(lambda: not machines_of(smolvm, run_id), PATIENCE)
