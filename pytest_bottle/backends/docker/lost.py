"""What became of a container that no longer answers."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.backends.docker.engine import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence
    from typing import Any

    from pytest_bottle.backends.docker.engine import Engine

_LOOK_BACK: Final = 600
"""Seconds of the engine's memory that are searched for a cause."""


def lost_sentence(engine: Engine, name: str) -> str:
    """Ask the engine, briefly, what happened to a container; never raises."""
    try:
        with engine.quick() as quick:
            found = quick.inspect(name)
            history = quick.history(name, seconds=_LOOK_BACK)
    except EngineError as problem:
        return (
            f"the engine at {engine.endpoint.host} does not answer ({problem}); container {name} "
            "was lost with it"
        )
    cause = _cause(history)
    if found is None:
        return f"container {name} is gone: {cause or 'it was removed, or the engine restarted'}"
    state = found["State"]
    if state.get("OOMKilled"):
        return f"container {name} ran out of memory and was killed by the kernel"
    if state.get("Running"):
        return f"the connection to container {name} broke while it still runs"
    return f"container {name} ended: {cause or state.get('Error') or state.get('Status')}"


def _cause(history: Sequence[Mapping[str, Any]]) -> str:
    """Return the reason that the engine's events give, if any."""
    cause = ""
    for event in history:
        attributes = event.get("Actor", {}).get("Attributes", {})
        action = event.get("Action", "")
        if action == "oom":
            return "it ran out of memory and the kernel killed in it"
        if action == "kill":
            cause = f"it was killed through the engine (signal {attributes.get('signal', '?')})"
        elif action == "die" and not cause:
            cause = f"its first process ended with code {attributes.get('exitCode', '?')}"
    return cause
