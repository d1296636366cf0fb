"""Isolated sandboxes for coding agents, as pytest fixtures.

The fixtures and markers need no import. What is here is for annotations, for `except` clauses, and
for those who use the engine without pytest or extend it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
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
    from pytest_bottle.errors import AuthorError
    from pytest_bottle.errors import BottleError
    from pytest_bottle.errors import CapabilityError
    from pytest_bottle.errors import CommandError
    from pytest_bottle.errors import ExecTimeoutError
    from pytest_bottle.errors import HostError
    from pytest_bottle.errors import InfraError
    from pytest_bottle.errors import OutputLimitError
    from pytest_bottle.errors import SandboxLostError
    from pytest_bottle.errors import UnsafePathError
    from pytest_bottle.errors import UserUnsupportedError
    from pytest_bottle.fixtures import BottleFactory
    from pytest_bottle.manifest import Manifest

_MODULES = {
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
    "Sandbox": "backends.base",
}

__all__ = [
    "AuthorError",
    "Backend",
    "Bottle",
    "BottleError",
    "BottleFactory",
    "CapabilityError",
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
    "Resource",
    "Sandbox",
    "SandboxLostError",
    "UnsafePathError",
    "UserUnsupportedError",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the module has
    """Import a public name when it is first used: importing the plugin must stay cheap."""
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    module = importlib.import_module(f"{__name__}.{_MODULES.get(name, 'errors')}")
    return getattr(module, name)
