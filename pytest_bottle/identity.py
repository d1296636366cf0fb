"""Which run a pytest process belongs to: its own, or that of the controller that started it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from dataclasses import field
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
    answers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the controller knew of this host's capabilities when it started this process."""


def identity_of(config: pytest.Config) -> RunIdentity:
    """Return the run that xdist's controller named, or a new one."""
    given: Mapping[str, Any] | None = getattr(config, "workerinput", None)
    if given is not None and "bottle_run" in given:
        return RunIdentity(
            run_id=given["bottle_run"],
            worker=given["workerid"],
            controller=given["bottle_controller"],
            answers=given["bottle_answers"],
        )
    return RunIdentity(os.urandom(8).hex(), "main", None)
