"""Provisions the agent's skills."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING

from pytest_bottle.errors import OptionError
from pytest_bottle.plan import SKILLS_DIRECTORY
from pytest_bottle.provision.steps import MakeDirectory
from pytest_bottle.provision.steps import PutTree
from pytest_bottle.values import parse_guest_directory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.plan import BottlePlan
    from pytest_bottle.provision.steps import GuestPaths
    from pytest_bottle.provision.steps import Step

GUEST_SKILLS_VARIABLE = "CLAUDE_BOTTLE_GUEST_SKILLS_DIR"
"""The host's environment variable that names another guest directory for skills in Claude's place.

Agents that look for them elsewhere would not find them there.
"""


def provision_skills(
    plan: BottlePlan, guest: GuestPaths, *, environ: Mapping[str, str] | None = None
) -> Sequence[Step]:
    """Return the steps that put each skill in the guest in place of a prior copy.

    Args:
        plan: Names the skills; without any there are no steps.
        guest: Where the guest's home is.
        environ: The host's environment; else this process's own.

    Raises:
        OptionError: the environment names a guest directory that is not absolute.
    """
    if plan.agent is None or not plan.agent.skills:
        return ()
    override = (os.environ if environ is None else environ).get(GUEST_SKILLS_VARIABLE)
    directory = posixpath.join(guest.home, plan.agent.skills_dir)
    if override and plan.agent.skills_dir == SKILLS_DIRECTORY:
        try:
            directory = parse_guest_directory(override)
        except ValueError as error:
            problem = f"{error}."
            raise OptionError(
                problem, option=GUEST_SKILLS_VARIABLE, source="the environment"
            ) from error
    return (
        MakeDirectory(path=directory),
        *(
            PutTree(path=posixpath.join(directory, skill.name), source=skill.source, wipe=True)
            for skill in plan.agent.skills
        ),
    )
