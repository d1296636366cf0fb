"""An engine that is restarted under a test: infra errors, no hang, and nothing left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from tests.death.remains import eventually

BOUND = 60.0
"""Seconds in which a run whose engine was restarted has to be over."""

pytestmark = pytest.mark.bottle_requires("docker")


@pytest.fixture(scope="module")
def engine():
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        pytest.skip("starting an engine takes dockerd and root")
    from tests.death.engine import PrivateEngine  # noqa: PLC0415 - the SDK is an extra

    # A short path, as the engine makes sockets below it.
    engine = PrivateEngine(Path(tempfile.mkdtemp(prefix="bd-", dir="/tmp")))
    try:
        engine.provide_image()
        yield engine
    finally:
        engine.close()


@pytest.fixture
def on_it(scene, engine):
    """Look for remains on that engine; return the setting by which a run uses it."""
    scene.use_engine(engine.client())
    return {"DOCKER_HOST": engine.host}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
@pytest.mark.parametrize("test", ["test_lost", "test_shared_lost"], ids=["own", "shared"])
def test_a_restart_is_an_infra_error(scene, start_run, engine, on_it, number, test):
    run = start_run(f"lost.py::{test}", "lost.py::test_next", backend="docker", **on_it)
    run.paused()
    assert scene.containers()

    engine.restart(number)

    summary = run.finish(BOUND).splitlines()[-1]
    assert re.search(r" (1 passed, 1|2) infra error", summary), summary
    assert eventually(lambda: not scene.remains()), scene.remains()


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["launch", "launched", "teardown"])
def test_a_restart_at_any_point_leaves_nothing(scene, start_run, engine, on_it, phase):
    run = start_run("suite.py", backend="docker", phase=phase, **on_it)
    run.paused()

    engine.restart(signal.SIGKILL)
    run.resume()

    summary = run.finish(BOUND).splitlines()[-1]
    assert " failed" not in summary, summary
    assert eventually(lambda: not scene.remains()), scene.remains()
