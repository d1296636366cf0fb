"""The library that supervisors are served with: looked for on the host, loaded by the door only."""

from __future__ import annotations

import importlib.metadata

from pytest_bottle.errors import CapabilityError

_MAJOR = "2"
_FIX = "pip install 'pytest-bottle[supervise]'"


def require_library() -> str:
    """Return the version of the MCP SDK that is installed; it is not imported for that.

    Raises:
        CapabilityError: it is not, or in another version.
    """
    try:
        version = importlib.metadata.version("mcp")
    except importlib.metadata.PackageNotFoundError:
        reason = "the MCP SDK (mcp) is not installed."
        raise CapabilityError("supervise", reason=reason, fix=_FIX) from None
    if version.partition(".")[0] != _MAJOR:
        reason = f"the MCP SDK (mcp) here is {version}, not {_MAJOR}.x."
        raise CapabilityError("supervise", reason=reason, fix=_FIX)
    return version
