"""The order in which provisioners have their say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bottle.provision.ca import provision_ca
from pytest_bottle.provision.git import provision_git
from pytest_bottle.provision.prompt import prompt_steps
from pytest_bottle.provision.skills import provision_skills
from pytest_bottle.provision.supervise import provision_supervise
from pytest_bottle.provision.workspace import provision_workspace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_bottle.plan import BottlePlan
    from pytest_bottle.provision.steps import GuestPaths
    from pytest_bottle.provision.steps import Provisioner
    from pytest_bottle.provision.steps import Step

PROVISIONERS: tuple[Provisioner, ...] = (
    provision_workspace,
    provision_ca,
    prompt_steps,
    provision_skills,
    provision_git,
    provision_supervise,
)
"""The built-in provisioners; those of plugins come after them."""


def provisioning_steps(
    plan: BottlePlan, guest: GuestPaths, provisioners: Iterable[Provisioner] = PROVISIONERS
) -> tuple[Step, ...]:
    """Return the steps of all provisioners, in order."""
    return tuple(step for provisioner in provisioners for step in provisioner(plan, guest))
