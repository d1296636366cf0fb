"""Gathers what happened in a bottle during a test, as long as the bottle still stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bottle.changes import Diff
from pytest_bottle.errors import BottleError
from pytest_bottle.transcript.crossings import crossings_of
from pytest_bottle.transcript.story import BottleStory

if TYPE_CHECKING:
    from pytest_bottle.bottle import Bottle
    from pytest_bottle.changes import Snapshot
    from pytest_bottle.session import ItemState
    from pytest_bottle.session import Use


def story_of(state: ItemState, use: Use) -> BottleStory:
    """Return the story of one test's use of one bottle, gathered when it is first asked for."""
    if use.bottle.name not in state.stories:
        state.stories[use.bottle.name] = _gather(use)
    return state.stories[use.bottle.name]


def _gather(use: Use) -> BottleStory:
    bottle = use.bottle
    count = bottle.log.count - use.first_command
    whole, problem = _changes(bottle)
    diff = None if whole is None else _without_new_repositories(whole)
    crossings, crossings_problem = crossings_of(bottle)
    agent = bottle.agent
    return BottleStory(
        name=bottle.name,
        backend=bottle.backend,
        wall=bottle.wall,
        agent=f"{agent.name} ({agent.kind})" if agent else None,
        prompt=agent.prompt if agent else "",
        runs=bottle.runs,
        exchanges=bottle.exchanges,
        commands=bottle.log.records[-count:] if count > 0 else (),
        diff=diff,
        diff_problem=problem,
        repository_changes=0 if whole is None or diff is None else len(whole) - len(diff),
        crossings=crossings,
        crossings_problem=crossings_problem,
        began=bottle.began,
    )


def _changes(bottle: Bottle) -> tuple[Diff | None, str]:
    if bottle.lost or bottle.closed:
        return None, "gone with the bottle"
    try:
        return bottle.diff(), ""
    except (BottleError, OSError) as problem:
        return None, f"could not be read ({problem})"


def _without_new_repositories(diff: Diff) -> Diff:
    """Return the changes less those of git's own files in clones that were not there before."""
    known = {_repository(path) for path in diff.before}

    def kept(snapshot: Snapshot) -> Snapshot:
        return {
            path: state
            for path, state in snapshot.items()
            if (repository := _repository(path)) is None or repository in known
        }

    return Diff(diff.before, kept(diff.after))


def _repository(path: str) -> str | None:
    """Return the `.git` directory that a path is in; None where it is in none."""
    before, separator, _ = f"/{path}".partition("/.git/")
    return before if separator else None
