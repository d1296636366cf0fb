"""The plugin's markers, as the nodes of a suite carry them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.errors import MarkerError
from pytest_bottle.options import ALL

if TYPE_CHECKING:
    import pytest

BOTTLE: Final = "bottle"
REQUIRES: Final = "bottle_requires"

DECLARATIONS: Final = (
    (
        f"{BOTTLE}(agent=None, bottle=None, backend=None, image=None, scope=None, **overrides): "
        "the bottle that this test's `bottle` fixture is"
    ),
    (
        f"{REQUIRES}(*capabilities): skip this test, with the reason, where the host lacks one of "
        "them; fail it where --bottle-require names it"
    ),
)
"""What `pytest --markers` shows."""


def bottle_arguments(node: pytest.Item) -> dict[str, Any]:
    """Return the merged keyword arguments of a test's `bottle` markers; the nearest marker's win.

    Raises:
        MarkerError: one has positional arguments.
    """
    arguments: dict[str, Any] = {}
    for marker in reversed(list(node.iter_markers(BOTTLE))):
        if marker.args:
            problem = f"@pytest.mark.{BOTTLE} takes keywords only, not {marker.args!r}."
            remedy = f'Write @pytest.mark.{BOTTLE}(agent="...").'
            raise MarkerError(problem, node=node.nodeid, remedy=remedy)
        arguments.update(marker.kwargs)
    return arguments


def listed_backends(node: pytest.Item, arguments: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the backends where a marker names several, by a list or `all`; else None.

    Raises:
        MarkerError: the list is empty, or has something else in it.
    """
    named = arguments.get("backend")
    if named == ALL:
        return (ALL,)
    if not isinstance(named, list | tuple):
        return None
    if named and all(isinstance(name, str) and name for name in named):
        return tuple(dict.fromkeys(named))
    problem = f"backend= must be a name or a list of names, not {named!r}."
    raise MarkerError(problem, node=node.nodeid, remedy='Write backend=["bubblewrap", "docker"].')


def required_capabilities(node: pytest.Item) -> tuple[str, ...]:
    """Return the capabilities that a test's gates name, the outermost first.

    Raises:
        MarkerError: a gate names nothing, or not by strings.
    """
    names: list[str] = []
    for marker in reversed(list(node.iter_markers(REQUIRES))):
        if marker.kwargs or not marker.args or not all(isinstance(n, str) for n in marker.args):
            problem = f"@pytest.mark.{REQUIRES} takes names of capabilities."
            remedy = f'Write @pytest.mark.{REQUIRES}("docker").'
            raise MarkerError(problem, node=node.nodeid, remedy=remedy)
        names += marker.args
    return tuple(dict.fromkeys(names))


def parametrizes(node: pytest.Item, name: str) -> bool:
    """Tell whether a test's author parametrizes it by a fixture of this name."""
    for marker in node.iter_markers("parametrize"):
        names = marker.args[0] if marker.args else marker.kwargs.get("argnames", ())
        words = names.replace(",", " ").split() if isinstance(names, str) else names
        if name in words:
            return True
    return False
