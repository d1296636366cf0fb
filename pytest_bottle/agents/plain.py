"""Reads an agent that writes plain text: what it says is all that is known."""

from __future__ import annotations

from pytest_bottle.agents.run import Exit
from pytest_bottle.agents.run import ReadRun
from pytest_bottle.agents.run import Turn


def read_plain(stdout: bytes, returncode: int | None) -> ReadRun:
    """Take standard output for the agent's answer, and the return code for how it ended."""
    text = stdout.decode(errors="replace")
    ends = {None: Exit.KILLED, 0: Exit.COMPLETED}
    return ReadRun(
        exit=ends.get(returncode, Exit.CRASHED),
        text=text,
        transcript=(Turn(role="assistant", text=text),) if text else (),
    )
