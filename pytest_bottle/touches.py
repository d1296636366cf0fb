"""Whether an agent touched a path of its workspace, as findings that explain themselves."""

from __future__ import annotations

import fnmatch
import posixpath
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.findings import Finding

if TYPE_CHECKING:
    from pytest_bottle.changes import Change
    from pytest_bottle.changes import Diff

_SHOWN: Final = 20
_WILD: Final = frozenset("*?[")


def touched(diff: Diff, path: str, misses: list[str] | None = None) -> Finding[Change]:
    """Return the changes at or below a path; see `Bottle.touched`."""
    found = [change for change in diff if _covers(path, change.path)]
    return Finding(
        found,
        summary=f"{path} was not touched; {_summary(diff)}" if not found else f"{path} was touched",
        story=lambda: f"{path} was not touched.\n{_listing(list(diff))}",
        misses=misses,
    )


def untouched(diff: Diff, path: str, misses: list[str] | None = None) -> Finding[str]:
    """Return the path if nothing changed at or below it; see `Bottle.untouched`."""
    found = [change for change in diff if _covers(path, change.path)]
    names = ", ".join(f"{change.kind} {change.path}" for change in found)
    return Finding(
        () if found else (path,),
        summary=f"{path} was touched: {names}" if found else f"{path} is as it was",
        story=lambda: f"{path} was touched.\n{_listing(found)}",
        misses=misses,
    )


def below_workdir(path: str, workdir: str) -> str:
    """Return a path in the form that a difference has it: relative to the workdir.

    Raises:
        ValueError: it is elsewhere, where no changes are known.
    """
    normal = posixpath.normpath(posixpath.join(workdir, path))
    if normal == workdir:
        return "."
    if not normal.startswith(f"{workdir}/"):
        message = f"{path!r} is not below {workdir}, and only there are changes known"
        raise ValueError(message)
    return normal.removeprefix(f"{workdir}/")


def _covers(pattern: str, path: str) -> bool:
    """Tell whether a path is what a pattern names, or is below it."""
    if pattern == ".":
        return True
    parts = path.rstrip("/").split("/")
    above = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    if _WILD.isdisjoint(pattern):
        return pattern in above
    return any(fnmatch.fnmatchcase(one, pattern) for one in above)


def _summary(diff: Diff) -> str:
    names = [change.path for change in diff]
    return f"touched: {', '.join(names)}" if names else "nothing was"


def _listing(changes: list[Change]) -> str:
    lines = [f"  {change.kind}: {change.path}" for change in changes[:_SHOWN]]
    if len(changes) > _SHOWN:
        lines.append(f"  ... {len(changes) - _SHOWN} more")
    return "\n".join(["changes:", *lines]) if lines else "nothing was changed"
