"""One test's bottles and what happened in them, gathered as data for whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_bottle.agents.run import AgentRun
    from pytest_bottle.changes import Diff
    from pytest_bottle.command_log import CommandRecord
    from pytest_bottle.gateway.values import Exchange
    from pytest_bottle.transcript.crossings import Crossing


@dataclass(frozen=True, slots=True, kw_only=True)
class BottleStory:
    """What happened in one bottle during one test."""

    name: str
    backend: str
    wall: str
    agent: str | None
    """The agent's name and kind, as a person would say it."""
    prompt: str
    """The agent's own prompt; empty where it has none."""
    runs: Sequence[AgentRun]
    exchanges: Sequence[Exchange]
    commands: Sequence[CommandRecord]
    diff: Diff | None
    """None where the workspace can no longer be read."""
    diff_problem: str
    """Why it cannot be read; empty where it can."""
    repository_changes: int = 0
    """Changes inside of repositories that are new, which `diff` leaves out: git's own files."""
    crossings: Sequence[Crossing] = ()
    """What came to the bottle's gates, oldest first."""
    crossings_problem: str = ""
    """Why there may be more; empty where there is not."""
    began: str = "provisioned"
    """What was done to the bottle, in a word, when its changes began to be counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestStory:
    """One test, its end, and its bottles."""

    __test__ = False  # For pytest, which takes it for a class of tests.

    nodeid: str
    outcome: str
    failure: str
    """What pytest says of it; empty where it passed."""
    misses: Sequence[str]
    """What assertions looked for in the transcript and did not find."""
    bottles: Sequence[BottleStory]
