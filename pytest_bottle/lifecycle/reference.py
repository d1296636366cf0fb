"""Where a bottle's sandbox is, written in its directory for other processes of this host."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.state.publish import publish
from pytest_bottle.state.publish import read_json

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_bottle.backends.base import Sandbox
    from pytest_bottle.plan import BottlePlan

FILE_NAME: Final = "reference.json"


def write_reference(plan: BottlePlan, sandbox: Sandbox) -> None:
    """Write where a sandbox is, and how a person gets into it."""
    reference = {
        "backend": plan.backend,
        "connection": list(sandbox.connection()),
        "reference": dict(sandbox.reference()),
    }
    publish(plan.state_dir / FILE_NAME, json.dumps(reference))


def read_reference(directory: Path) -> dict[str, Any] | None:
    """Return what `write_reference` wrote in a bottle's directory; None where it is not up yet."""
    try:
        reference: dict[str, Any] = read_json(directory / FILE_NAME)
    except (FileNotFoundError, ValueError):
        return None
    return reference
