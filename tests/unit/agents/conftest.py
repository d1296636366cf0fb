"""What real agents wrote, and what the readers make of it.

`streams/` holds the output of Claude Code 2.1.330 and Codex 0.169.0, recorded with a scripted
model. Paths, ports and the longest lists were shortened; `*.record.jsonl` are the files in which
Codex records a session, without its own instructions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_bottle.agents.registry import BUILTIN
from pytest_bottle.plan import AgentPlan

STREAMS = Path(__file__).parent / "streams"


@pytest.fixture
def stream():
    """Return the bytes of a recorded stream."""
    return lambda name: (STREAMS / f"{name}.jsonl").read_bytes()


@pytest.fixture
def read(stream):
    """Read a recorded stream as its agent would, with its record if there is one."""

    def read(name: str, returncode: int | None = 0, *, stderr: bytes = b"", record: bool = False):
        kind = BUILTIN[name.partition("-")[0]]
        recorded = stream(f"{name}.record") if record else b""
        return kind.read(stream(name), stderr, returncode, recorded)

    return read


@pytest.fixture
def plan():
    """Make an agent's plan."""

    def plan(kind: str, *args: str, **fields: Any) -> AgentPlan:
        return AgentPlan(name="a", kind=kind, args=args, **fields)

    return plan
