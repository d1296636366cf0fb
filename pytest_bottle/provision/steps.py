"""The steps that provisioners return: what should be in the guest, not how it gets there."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_bottle.plan import BottlePlan

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestPaths:
    """The two directories of a guest that provisioners build on, absolute."""

    home: str
    workdir: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeDirectory:
    """Make a directory and those above it where they are missing."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PutFile:
    """Write one file; exactly one of `source` and `content` is set."""

    path: str
    source: Path | None = None
    content: bytes | None = None
    mode: int | None = None
    """Permission bits; None keeps the source's, or is 0644 for a content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PutTree:
    """Copy what is in a host directory into a guest directory.

    With `wipe` a prior guest directory is removed first, and the new one has the source's mode.
    """

    path: str
    source: Path
    wipe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Run a command in the guest, in its root directory, with an empty stdin."""

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    required: bool = True
    """Whether its failure ends the provisioning; else it is a warning on stderr."""


Step = MakeDirectory | PutFile | PutTree | Run

Provisioner = Callable[[BottlePlan, GuestPaths], Sequence[Step]]
"""A pure function from a plan to steps; it may look at the host's files and changes nothing."""
