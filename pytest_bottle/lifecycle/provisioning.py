"""Applies what the provisioners return, in one command, on whichever backend."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.backends.base import ExecRequest
from pytest_bottle.bottle import Provisioned
from pytest_bottle.errors import LaunchError
from pytest_bottle.guest_files import TREE_LIMIT
from pytest_bottle.provision.batch import build_batch
from pytest_bottle.provision.order import provisioning_steps
from pytest_bottle.provision.prompt import provision_prompt
from pytest_bottle.provision.steps import GuestPaths

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_bottle.backends.base import Sandbox
    from pytest_bottle.plan import BottlePlan
    from pytest_bottle.provision.steps import Provisioner

PROVISION_TIMEOUT: Final = 300.0
"""Seconds for all steps together."""


def provision(
    plan: BottlePlan, sandbox: Sandbox, provisioners: Iterable[Provisioner]
) -> Provisioned:
    """Put everything that a plan asks for into a sandbox, in one round trip.

    Raises:
        ManifestError: a source is gone from the host; the guest was not touched.
        LaunchError: a step failed in the guest.
    """
    guest = sandbox.guest
    paths = GuestPaths(home=guest.home, workdir=guest.workdir)
    batch = build_batch(provisioning_steps(plan, paths, provisioners), workdir=guest.workdir)
    result = sandbox.exec(
        ExecRequest(
            argv=batch.script,
            input=batch.archive,
            cwd="/",
            timeout=PROVISION_TIMEOUT,
            output_limit=TREE_LIMIT,
        )
    )
    if not result.success:
        message = (
            f"provisioning {plan.name} failed with return code {result.returncode}: "
            f"{result.stderr.strip()[-2000:]}"
        )
        raise LaunchError(message)
    _, prompt_path = provision_prompt(plan, guest.home)
    return Provisioned(baseline=result.stdout_bytes, prompt_path=prompt_path)
