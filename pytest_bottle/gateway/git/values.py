"""What became of a bottle's fetches and pushes, as its test reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit, as a push brought it."""

    sha: str
    subject: str
    """The first line of its message; blotted out where it holds a secret."""


@dataclass(frozen=True, slots=True)
class PushFinding:
    """A secret, or what looks like one, in what was pushed."""

    rule: str
    where: str
    """A file and the first commit with it, or a message, a name, a ref."""
    evidence: str
    """Redacted."""
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Push:
    """What became of one ref of one push."""

    remote: str
    ref: str
    """Its full name."""
    old: str
    """What it named before; all zeros where it is new."""
    new: str
    """What it was to name; all zeros where it was to be deleted."""
    time: float
    """When it was decided, in seconds since 1970."""
    commits: tuple[Commit, ...]
    """What was new in it, newest first."""
    rule: str = ""
    """Why it was rejected, in a word: `secret`, `ref` (not in `allow_push`), `force`, `delete`,
    `upstream`, `git` (a broken pack), `gate`, or `others` (other refs of the same push were)."""
    reason: str = ""
    """The same in a sentence, as the agent was told."""
    findings: tuple[PushFinding, ...] = ()


@dataclass(frozen=True, slots=True)
class Fetch:
    """One clone or fetch that brought objects."""

    remote: str
    time: float
    refs: tuple[str, ...]
    """Full names of those that were asked for."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A fetch that came to nothing, because the upstream did not answer."""

    remote: str
    time: float
    reason: str


def push_from_record(record: Mapping[str, Any]) -> Push:
    """Return what the gate's record of a push says."""
    return Push(
        remote=record["remote"],
        ref=record["ref"],
        old=record["old"],
        new=record["new"],
        time=record["time"],
        commits=tuple(Commit(*commit) for commit in record["commits"]),
        rule=record["rule"],
        reason=record["reason"],
        findings=tuple(PushFinding(**finding) for finding in record["findings"]),
    )
