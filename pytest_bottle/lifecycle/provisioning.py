"""Applies what the provisioners return, in one command, on whichever backend."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.backends.base import ExecRequest
from pytest_bottle.bottle import Provisioned
from pytest_bottle.errors import LaunchError
from pytest_bottle.errors import UserUnsupportedError
from pytest_bottle.guest_door import ca_path
from pytest_bottle.guest_files import TREE_LIMIT
from pytest_bottle.provision.batch import ARCHIVE_HERE
from pytest_bottle.provision.batch import FAILED
from pytest_bottle.provision.batch import build_batch
from pytest_bottle.provision.ca import TRUST_SCRIPT
from pytest_bottle.provision.order import provisioning_steps
from pytest_bottle.provision.prompt import provision_prompt
from pytest_bottle.provision.steps import GuestPaths

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_bottle.backends.base import Sandbox
    from pytest_bottle.plan import BottlePlan
    from pytest_bottle.provision.steps import Provisioner

_logger = logging.getLogger(__name__)

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
    if FAILED in result.stderr:
        # Those that are not required; the end is what the last of them had to say.
        _logger.warning("%s: %s", plan.name, result.stderr.strip()[-2000:])
    if plan.ca_file is not None and guest.uid != 0:
        _trust_as_root(sandbox, guest.home)
    _, prompt_path = provision_prompt(plan, guest.home)
    return Provisioned(baseline=result.stdout_bytes, prompt_path=prompt_path)


def _trust_as_root(sandbox: Sandbox, home: str) -> None:
    """Add the proxy's authority to the store of an image whose user may not do so itself.

    Where nobody is root, the variables of every command name the authority all the same.
    """
    argv = ("/bin/sh", "-c", TRUST_SCRIPT, "sh", ca_path(home))
    request = ExecRequest(argv=argv, cwd="/", user="root", timeout=PROVISION_TIMEOUT)
    with contextlib.suppress(UserUnsupportedError):
        sandbox.exec(request)


def found_state(plan: BottlePlan, sandbox: Sandbox) -> Provisioned:
    """Return what there is in a sandbox that started from another's state.

    Files of its workdir that its user may not read are passed over.

    Raises:
        OutputLimitError: the workdir is larger than 512 MiB.
    """
    argv = ("/bin/sh", "-c", ARCHIVE_HERE)
    request = ExecRequest(argv=argv, timeout=PROVISION_TIMEOUT, output_limit=TREE_LIMIT)
    baseline = sandbox.exec(request).stdout_bytes
    _, prompt_path = provision_prompt(plan, sandbox.guest.home)
    return Provisioned(baseline=baseline, prompt_path=prompt_path, branched=True)
