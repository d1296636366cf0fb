"""A plugin for inner runs: stops the first process that comes to one point of a bottle's way.

`DEATH_BACKEND` and `DEATH_PHASE` name the backend and the point, `DEATH_MARKER` the file that then
holds the process's pid and its worker's name. The backends are the real ones.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_bottle.backends.base import Probe
from pytest_bottle.backends.registry import BUILTIN
from pytest_bottle.backends.registry import load_backend


def pause(phase: str) -> None:
    """Wait to be killed or resumed, where this is the point and nobody waits there yet.

    The witness of another's death goes on.
    """
    marker = Path(os.environ["DEATH_MARKER"])
    if phase != os.environ["DEATH_PHASE"] or "witness" in os.environ.get("PYTEST_CURRENT_TEST", ""):
        return
    draft = marker.with_name(f"{marker.name}.{os.getpid()}")
    if draft.exists():
        return
    draft.write_text(f"{os.getpid()} {os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    with suppress(FileExistsError):
        marker.hardlink_to(draft)
        while marker.exists():
            time.sleep(0.01)


def pytest_bottle_backends(config):
    """Put pauses into the built-in backend."""
    del config
    backend: Any = load_backend(BUILTIN[os.environ["DEATH_BACKEND"]])
    probe, prepare, launch = backend.probe, backend.prepare, backend.launch
    branch = backend.branch

    def probe_with_pauses():
        pause("probe")
        answer = probe()
        pause("probed")
        return answer

    def prepare_with_pause(plan, report):
        pause("prepare")
        prepare(plan, report)

    def launch_with_pauses(plan):
        pause("launch")
        sandbox = launch(plan)
        pause("launched")
        return with_pauses(sandbox)

    def branch_with_pauses(plan, reference):
        pause("branch")
        sandbox = branch(plan, reference)
        pause("branched")
        return with_pauses(sandbox)

    def with_pauses(sandbox: Any) -> Any:
        stop = sandbox.stop

        def stop_with_pauses():
            pause("teardown")
            gone = stop()
            pause("stopped")
            return gone

        sandbox.stop = stop_with_pauses
        return sandbox

    def open_with_pause(*arguments):
        sandbox = try_out(*arguments)
        pause("opened")
        return sandbox

    if os.environ["DEATH_PHASE"] == "opened":
        # What a probe opens, the first of all sandboxes.
        try_out, backend._launch = backend._launch, open_with_pause

    backend.probe = probe_with_pauses
    backend.prepare, backend.launch = prepare_with_pause, launch_with_pauses
    backend.branch = branch_with_pauses
    return [backend]


def pytest_bottle_capabilities(config):
    """Put a pause into a gate."""
    del config

    def probe_with_pause():
        pause("gate")
        return Probe(ok=True, detail="it is open")

    return {"pausing": probe_with_pause}


def pytest_collection_modifyitems():
    """Put a pause after collection."""
    pause("collection")


def pytest_bottle_provisioners(config):
    """Put a pause into provisioning."""
    del config

    def provision_with_pause(_plan, _paths):
        pause("provision")
        return ()

    return [provision_with_pause]
