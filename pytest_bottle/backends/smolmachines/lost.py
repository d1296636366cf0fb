"""What became of a machine that does not answer any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bottle.backends.smolmachines.failures import SmolvmError

if TYPE_CHECKING:
    from pytest_bottle.backends.smolmachines.smolvm import Smolvm
    from pytest_bottle.backends.smolmachines.stream import MachineStream


def is_running(smolvm: Smolvm, name: str) -> bool:
    """Tell whether the engine says that a machine runs."""
    try:
        found = smolvm.machine_status(name)
    except SmolvmError:
        return False
    return found is not None and found.state == "running"


def lost_sentence(smolvm: Smolvm, name: str, stream: MachineStream | None = None) -> str:
    """Return what happened to a machine, as far as the engine knows."""
    words = stream.words() if stream is not None else ""
    said = f" (the engine said: {words[-500:]})" if words else ""
    try:
        found = smolvm.machine_status(name)
    except SmolvmError as problem:
        return f"the machine {name} is lost: {problem}{said}"
    if found is None:
        return f"the machine {name} is gone: it was deleted{said}"
    if found.state != "running":
        return f"the machine {name} is lost: the engine says that it is {found.state}{said}"
    return f"the machine {name} runs, but its server does not answer any more{said}"
