"""Gates: a test that needs a capability is skipped, with the reason, where it is missing.

Where the capability was required by an option, the missing one fails the test instead, and the run
too if no test asked for it: a gated suite cannot pass by skipping everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Final

import pytest

from pytest_bottle.errors import MarkerError
from pytest_bottle.errors import OptionError
from pytest_bottle.nearest import nearest
from pytest_bottle.session import marker_arguments

if TYPE_CHECKING:
    from pytest_bottle.session import BottleSession

MARKER: Final = "bottle_requires"
REASON_PREFIX: Final = "bottle capability "
"""How the reason of every skip by a gate begins."""


def required_by(node: pytest.Item) -> tuple[str, ...]:
    """Return the capabilities that a test's gates name, in order.

    Raises:
        MarkerError: a gate names nothing, or not by strings.
    """
    names: list[str] = []
    for marker in reversed(list(node.iter_markers(MARKER))):
        if marker.kwargs or not marker.args or not all(isinstance(n, str) for n in marker.args):
            raise MarkerError(
                "@pytest.mark.bottle_requires takes names of capabilities.",
                node=node.nodeid,
                remedy='Write @pytest.mark.bottle_requires("docker").',
            )
        names += marker.args
    return tuple(dict.fromkeys(names))


def check(session: BottleSession, node: pytest.Item) -> None:
    """Check a test's gates as far as that probes nothing.

    Raises:
        MarkerError: a gate is malformed or names no capability.
    """
    for name in required_by(node):
        known = session.lifecycle.extensions.capability_names
        if name not in known:
            raise MarkerError(
                f"there is no capability {name!r}.", node=node.nodeid, remedy=nearest(name, known)
            )


def enforce(session: BottleSession, node: pytest.Item, backend: str | None = None) -> None:
    """Skip or fail a test that needs what this host has not.

    Args:
        session: The plugin's state.
        node: The test.
        backend: The backend that its bottle was parametrized with, which it needs too.
    """
    named = marker_arguments(node).get("backend")
    implied = named if isinstance(named, str) else backend
    names = dict.fromkeys(required_by(node))
    if implied is not None and implied in session.lifecycle.extensions.backend_names:
        names[implied] = None
    for name in names:
        answer = session.lifecycle.probe(name)
        if answer.ok:
            continue
        fix = f". Fix: {answer.fix}" if answer.fix else ""
        reason = f"{REASON_PREFIX}{name} is missing: {answer.detail}{fix}"
        if name in session.options["require"]:
            pytest.fail(f"{reason} (required by --bottle-require)", pytrace=False)
        pytest.skip(reason)


def missing_requirements(session: BottleSession) -> list[str]:
    """Return a sentence for each capability that is required and missing.

    Raises:
        OptionError: the option names no capability.
    """
    sentences = []
    for name in session.options["require"]:
        try:
            answer = session.lifecycle.probe(name)
        except KeyError:
            known = session.lifecycle.extensions.capability_names
            raise OptionError(
                f"there is no capability {name!r}.",
                option="--bottle-require",
                source=session.options.values["require"].source,
                remedy=nearest(name, known),
            ) from None
        if not answer.ok:
            sentences.append(f"{name}: {answer.detail}. Fix: {answer.fix}")
    return sentences
