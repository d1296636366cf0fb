"""Which run a pytest process belongs to: its own, or that of the controller that started it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """The run that this process belongs to."""

    run_id: str
    worker: str
    controller: str | None
    """The controlling process, encoded; None where it is this one."""


def identity_of(config: pytest.Config) -> RunIdentity:
    """Return the run that xdist's controller named, or a new one."""
    given: Mapping[str, Any] | None = getattr(config, "workerinput", None)
    if given is not None and "bottle_run" in given:
        return RunIdentity(given["bottle_run"], given["workerid"], given["bottle_controller"])
    return RunIdentity(os.urandom(8).hex(), "main", None)
