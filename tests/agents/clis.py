"""The real CLIs that these tests run, and where.

On bubblewrap it is the host's own CLI, on docker that of the agent image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from pytest_bottle import tool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_bottle.gateway.turns import Turn

AGENT_IMAGE = "pytest-bottle-agent"
"""What it is called; these tests want it whatever image the others take."""


@dataclass(frozen=True)
class Cli:
    """One of the CLIs: how its model talks to it."""

    kind: str

    def shell(self, command: str) -> Turn:
        """Return a turn of the model that runs a command."""
        if self.kind == "claude":
            return tool("Bash", command=command)
        return tool("exec_command", cmd=command)

    def load_skill(self, name: str) -> Turn:
        """Return a turn of the model that reads a skill."""
        if self.kind == "claude":
            return tool("Skill", skill=name)
        return self.shell(f"cat ~/.codex/skills/{name}/SKILL.md")

    @property
    def shell_tool(self) -> str:
        """Return what it calls its shell."""
        return "Bash" if self.kind == "claude" else "exec_command"


CLAUDE, CODEX = Cli("claude"), Cli("codex")


def on_every_cli(agent: str = "") -> pytest.MarkDecorator:
    """Run a test on each CLI on each backend.

    Args:
        agent: What is behind the CLI's name in the agent's; empty where its name is all of it.
    """
    return pytest.mark.parametrize("cli", _parameters((CLAUDE, CODEX), agent), indirect=True)


def on_claude(agent: str = "") -> pytest.MarkDecorator:
    """Run a test of what only Claude Code has on each backend."""
    return pytest.mark.parametrize("cli", _parameters((CLAUDE,), agent), indirect=True)


def _parameters(clis: Iterable[Cli], agent: str) -> list[object]:
    parameters: list[object] = []
    for cli in clis:
        name = f"{cli.kind}-{agent}" if agent else cli.kind
        on_host = [
            pytest.mark.bottle(agent=name, backend="bubblewrap"),
            pytest.mark.bottle_requires(cli.kind),
        ]
        in_image = [
            pytest.mark.bottle(agent=name, backend="docker", image=AGENT_IMAGE),
            pytest.mark.bottle_requires("agent-image"),
        ]
        for backend, marks in (("bubblewrap", on_host), ("docker", in_image)):
            parameters.append(pytest.param(cli, marks=marks, id=f"{cli.kind}-{backend}"))
    return parameters
