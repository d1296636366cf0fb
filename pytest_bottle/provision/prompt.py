"""Provisions the agent's prompt file."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from pytest_bottle.plan import PROMPT_FILE_NAME
from pytest_bottle.provision.steps import PutFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_bottle.plan import BottlePlan
    from pytest_bottle.provision.steps import GuestPaths
    from pytest_bottle.provision.steps import Step


def provision_prompt(plan: BottlePlan, home: str) -> tuple[Sequence[Step], str | None]:
    """Return the steps that always copy the prompt file, and its guest path if it has a prompt."""
    path = posixpath.join(home, PROMPT_FILE_NAME)
    # The host's copy is private; in the guest whoever runs the agent has to read it.
    steps = (PutFile(path=path, source=plan.prompt_file, mode=0o644),)
    return steps, path if plan.agent and plan.agent.prompt else None


def prompt_steps(plan: BottlePlan, guest: GuestPaths) -> Sequence[Step]:
    """Return the steps alone, as every provisioner does."""
    steps, _ = provision_prompt(plan, guest.home)
    return steps
