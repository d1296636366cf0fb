"""Isolated sandboxes for coding agents, as pytest fixtures.

The fixtures and markers need no import. What is here is for annotations, for `except` clauses, and
for those who use the engine without pytest or extend it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from pytest_bottle.agents.run import AgentRun
    from pytest_bottle.agents.run import ToolCall
    from pytest_bottle.agents.run import Turn
    from pytest_bottle.backends.base import Backend
    from pytest_bottle.backends.base import ExecRequest
    from pytest_bottle.backends.base import ExecResult
    from pytest_bottle.backends.base import Guest
    from pytest_bottle.backends.base import Probe
    from pytest_bottle.backends.base import Resource
    from pytest_bottle.backends.base import Sandbox
    from pytest_bottle.bottle import Bottle
    from pytest_bottle.changes import Change
    from pytest_bottle.changes import Diff
    from pytest_bottle.errors import AgentError
    from pytest_bottle.errors import AuthorError
    from pytest_bottle.errors import BottleError
    from pytest_bottle.errors import BranchUnsupportedError
    from pytest_bottle.errors import BudgetExceededError
    from pytest_bottle.errors import CapabilityError
    from pytest_bottle.errors import CassetteError
    from pytest_bottle.errors import CommandError
    from pytest_bottle.errors import ExecTimeoutError
    from pytest_bottle.errors import HostError
    from pytest_bottle.errors import InfraError
    from pytest_bottle.errors import OutputLimitError
    from pytest_bottle.errors import SandboxLostError
    from pytest_bottle.errors import SuperviseError
    from pytest_bottle.errors import UnexpectedRequestError
    from pytest_bottle.errors import UnmetExpectationError
    from pytest_bottle.errors import UnsafePathError
    from pytest_bottle.errors import UserUnsupportedError
    from pytest_bottle.fixtures import BottleFactory
    from pytest_bottle.gateway.supervise.proposal import Proposal
    from pytest_bottle.gateway.supervise.proposal import approve
    from pytest_bottle.gateway.supervise.proposal import modify
    from pytest_bottle.gateway.supervise.proposal import reject
    from pytest_bottle.gateway.turns import delay
    from pytest_bottle.gateway.turns import error
    from pytest_bottle.gateway.turns import say
    from pytest_bottle.gateway.turns import tool
    from pytest_bottle.manifest import Manifest
    from pytest_bottle.matchers import anything
    from pytest_bottle.matchers import contains
    from pytest_bottle.matchers import matches
    from pytest_bottle.usage import Usage

_MODULES = {
    "AgentRun": "agents.run",
    "Backend": "backends.base",
    "Bottle": "bottle",
    "BottleFactory": "fixtures",
    "Change": "changes",
    "Diff": "changes",
    "ExecRequest": "backends.base",
    "ExecResult": "backends.base",
    "Guest": "backends.base",
    "Manifest": "manifest",
    "Probe": "backends.base",
    "Resource": "backends.base",
    "Proposal": "gateway.supervise.proposal",
    "Sandbox": "backends.base",
    "ToolCall": "agents.run",
    "Turn": "agents.run",
    "Usage": "usage",
    "anything": "matchers",
    "approve": "gateway.supervise.proposal",
    "contains": "matchers",
    "delay": "gateway.turns",
    "error": "gateway.turns",
    "matches": "matchers",
    "modify": "gateway.supervise.proposal",
    "reject": "gateway.supervise.proposal",
    "say": "gateway.turns",
    "tool": "gateway.turns",
}

__all__ = [
    "AgentError",
    "AgentRun",
    "AuthorError",
    "Backend",
    "Bottle",
    "BottleError",
    "BottleFactory",
    "BranchUnsupportedError",
    "BudgetExceededError",
    "CapabilityError",
    "CassetteError",
    "Change",
    "CommandError",
    "Diff",
    "ExecRequest",
    "ExecResult",
    "ExecTimeoutError",
    "Guest",
    "HostError",
    "InfraError",
    "Manifest",
    "OutputLimitError",
    "Probe",
    "Proposal",
    "Resource",
    "Sandbox",
    "SandboxLostError",
    "SuperviseError",
    "ToolCall",
    "Turn",
    "UnexpectedRequestError",
    "UnmetExpectationError",
    "UnsafePathError",
    "Usage",
    "UserUnsupportedError",
    "anything",
    "approve",
    "contains",
    "delay",
    "error",
    "matches",
    "modify",
    "reject",
    "say",
    "tool",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the module has
    """Import a public name when it is first used: importing the plugin must stay cheap."""
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    module = importlib.import_module(f"{__name__}.{_MODULES.get(name, 'errors')}")
    return getattr(module, name)
