"""Gates: a test that needs a capability is skipped, with the reason, where it is missing.

Where the capability was required by an option, the missing one fails the test instead, and the run
too if no test asked for it: a gated suite cannot pass by skipping everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Final

import pytest

from pytest_bottle.errors import BottleError
from pytest_bottle.errors import CapabilityError
from pytest_bottle.errors import MarkerError
from pytest_bottle.markers import bottle_arguments
from pytest_bottle.markers import required_capabilities
from pytest_bottle.nearest import nearest

if TYPE_CHECKING:
    from pytest_bottle.backends.base import Probe
    from pytest_bottle.session import BottleSession

AGENT_PROGRAMS: Final = frozenset({"claude", "codex"})
"""Capabilities that are there on docker where the agent image is."""

REASON_PREFIX: Final = "bottle capability "
"""How the reason of every skip by a gate begins."""


def check(session: BottleSession, node: pytest.Item) -> tuple[str, ...]:
    """Check a test's gates as far as that probes nothing, and return what they name.

    Raises:
        MarkerError: a gate is malformed or names no capability.
    """
    names = required_capabilities(node)
    for name in names:
        known = session.lifecycle.extensions.capability_names
        if name not in known:
            problem = f"there is no capability {name!r}."
            raise MarkerError(problem, node=node.nodeid, remedy=nearest(name, known))
    return names


def enforce(session: BottleSession, node: pytest.Item, backend: str | None) -> None:
    """Skip or fail a test that needs what this host has not.

    Args:
        session: The plugin's state.
        node: The test.
        backend: The backend that its bottle was parametrized with, which it needs too.

    Raises:
        MarkerError: a gate is malformed or names no capability.
    """
    names = _in_its_bottle(session, node, check(session, node), backend)
    named = bottle_arguments(node).get("backend")
    implied = named if isinstance(named, str) else backend
    if implied is not None and implied in session.lifecycle.extensions.backend_names:
        names = (*names, implied)
    required = session.options.values["require"]
    for name in dict.fromkeys(names):
        answer = probe(session, name)
        if answer.ok:
            continue
        reason = f"{REASON_PREFIX}{name} is missing: {_explained(answer)}"
        if name in required.value:
            pytest.fail(f"{reason} (--bottle-require, from {required.source})", pytrace=False)
        # As pytest's own skip markers do: the place that is shown is the test's.
        raise pytest.skip.Exception(reason, _use_item_location=True)


def _in_its_bottle(
    session: BottleSession, node: pytest.Item, names: tuple[str, ...], backend: str | None
) -> tuple[str, ...]:
    """Return what a test needs, where an agent's program may be in an image, not on this host."""
    fixtures: tuple[str, ...] = getattr(node, "fixturenames", ())
    if AGENT_PROGRAMS.isdisjoint(names) or "bottle" not in fixtures:
        return names
    try:
        if not session.engine.runs_on_docker(node, backend):
            return names
    except CapabilityError:
        return names
    others = tuple(name for name in names if name not in AGENT_PROGRAMS)
    # What is in an image of the author's own is for its author to know.
    return others if session.engine.names_image(node, backend) else (*others, "agent-image")


def missing_requirements(session: BottleSession) -> list[str]:
    """Return a sentence for each capability that is required and missing."""
    answers = {name: probe(session, name) for name in session.options["require"]}
    return [f"{name}: {_explained(answer)}" for name, answer in answers.items() if not answer.ok]


def probe(session: BottleSession, name: str) -> Probe:
    """Find out, once per run, whether this host has a capability; a probe that raises is a no."""
    try:
        return session.lifecycle.probe(name)
    except BottleError:
        raise
    except Exception as problem:  # noqa: BLE001 - third parties' code, asked inside of pytest hooks
        from pytest_bottle.backends.base import Probe  # Others need not pay.

        detail = f"its probe failed with {type(problem).__name__}: {problem}"
        return Probe(ok=False, detail=detail, fix=f"correct the plugin that adds {name!r}")


def _explained(answer: Probe) -> str:
    detail = answer.detail.rstrip(".")
    return f"{detail}. Fix: {answer.fix}" if answer.fix else detail
