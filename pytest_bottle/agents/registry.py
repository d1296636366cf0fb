"""The kinds of agents that pytest-bottle brings along."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_bottle.agents.claude import ClaudeAgent
from pytest_bottle.agents.codex import CodexAgent
from pytest_bottle.agents.command import CommandAgent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.agents.base import Agent

_AGENTS: tuple[Agent, ...] = (ClaudeAgent(), CodexAgent(), CommandAgent())

BUILTIN: Mapping[str, Agent] = MappingProxyType({agent.kind: agent for agent in _AGENTS})
"""Agents by kind; plugins add their own beside them."""
