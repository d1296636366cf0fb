"""Finds out whether the engine boots a guest on this host: cheap looks first, then one real boot.

That it did is remembered for this host, this kernel and this engine; that it did not is not, for
its owner may mend it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.backends.base import Probe
from pytest_bottle.backends.smolmachines.engine import current_engine
from pytest_bottle.backends.smolmachines.failures import SmolvmError
from pytest_bottle.backends.smolmachines.labels import NAME_LABEL
from pytest_bottle.backends.smolmachines.labels import OWNER_LABEL
from pytest_bottle.backends.smolmachines.removal import remove_quietly
from pytest_bottle.backends.smolmachines.smolvm import MachineConfig
from pytest_bottle.backends.smolmachines.smolvm import Smolvm
from pytest_bottle.backends.smolmachines.virtualisation import probe_virtualisation
from pytest_bottle.errors import CapabilityError
from pytest_bottle.state.directory import cache_directory
from pytest_bottle.state.once import once
from pytest_bottle.state.owner import Owner

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_bottle.backends.smolmachines.engine import EngineProgram

_MEMORY: Final = 512
"""MiB of the machine that is booted; it needs no image."""

_ANSWER: Final = 60.0
"""Seconds for its first command."""


class _NoBootError(Exception):
    """A guest did not boot; the message says why."""


def probe_engine(smolvm_of: Callable[[EngineProgram], Smolvm]) -> Probe:
    """Return whether bottles can be microVMs here. Never raises.

    Args:
        smolvm_of: makes what runs an engine's verbs.
    """
    try:
        engine = current_engine()
    except CapabilityError as problem:
        return Probe(ok=False, detail=problem.reason, fix=problem.fix)
    seen = f"smolvm {engine.version} of {engine.origin}"
    host = probe_virtualisation()
    if not host.ok:
        return Probe(ok=False, detail=f"{seen}; {host.detail}", fix=host.fix)
    key = f"smolvm boots {engine.version} {engine.path} {platform.node()} {platform.release()}"
    try:
        boot: float = once(cache_directory(), key, lambda: _boot(smolvm_of(engine)))
    except (_NoBootError, OSError) as problem:
        return Probe(
            ok=False,
            detail=f"{seen}; {host.detail}, but no guest boots: {problem}",
            fix="`smolvm machine start` must work first; see its log by `smolvm machine logs`",
        )
    return Probe(ok=True, detail=f"{seen}; a guest booted in {boot:.1f} s")


def _boot(smolvm: Smolvm) -> float:
    """Boot a machine and run a command in it; return how many seconds that took.

    Raises:
        _NoBootError
    """
    name = f"bottle-probe-{os.getpid()}"
    labels = {NAME_LABEL: name, OWNER_LABEL: Owner.current().encode()}
    with contextlib.ExitStack() as undo:
        try:
            undo.callback(remove_quietly, smolvm, name)
            smolvm.machine_create(MachineConfig(name=name, cpus=1, memory=_MEMORY, labels=labels))
            start = time.monotonic()
            smolvm.machine_start(name)
            done = smolvm.machine_exec(name, ("true",), timeout=_ANSWER)
        except SmolvmError as problem:
            raise _NoBootError(str(problem)) from problem
        if done.returncode != 0:
            words = done.stderr.decode(errors="replace").strip()
            raise _NoBootError(f"`true` in it returned {done.returncode}: {words[-300:]}")
        return time.monotonic() - start
