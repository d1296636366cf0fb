"""A plugin for inner runs: stops the first process that comes to one point of a bottle's way.

`DEATH_BACKEND` and `DEATH_PHASE` name the backend and the point, `DEATH_MARKER` the file that then
holds the process's pid. The backends are the real ones.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_bottle.backends.registry import BUILTIN
from pytest_bottle.backends.registry import load_backend


def pause(phase: str) -> None:
    """Wait to be killed or resumed, where this is the point and nobody waits there yet."""
    marker = Path(os.environ["DEATH_MARKER"])
    if phase != os.environ["DEATH_PHASE"]:
        return
    draft = marker.with_name(f"{marker.name}.{os.getpid()}")
    if draft.exists():
        return
    draft.write_text(str(os.getpid()))
    with suppress(FileExistsError):
        marker.hardlink_to(draft)
        while marker.exists():
            time.sleep(0.01)


def pytest_bottle_backends(config):
    """Put pauses into the built-in backend."""
    del config
    backend: Any = load_backend(BUILTIN[os.environ["DEATH_BACKEND"]])
    prepare, launch = backend.prepare, backend.launch

    def prepare_with_pause(plan, report):
        pause("prepare")
        prepare(plan, report)

    def launch_with_pauses(plan):
        if plan.run_id == "probe":
            return launch(plan)
        pause("launch")
        sandbox = launch(plan)
        pause("launched")
        stop = sandbox.stop

        def stop_with_pauses():
            pause("teardown")
            gone = stop()
            pause("stopped")
            return gone

        sandbox.stop = stop_with_pauses
        return sandbox

    backend.prepare, backend.launch = prepare_with_pause, launch_with_pauses
    return [backend]


def pytest_bottle_provisioners(config):
    """Put a pause into provisioning."""
    del config

    def provision_with_pause(_plan, _paths):
        pause("provision")
        return ()

    return [provision_with_pause]
