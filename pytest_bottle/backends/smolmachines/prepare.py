"""Checks a bottle's plan against this host and its engine, and resolves it; nothing is started."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.backends.smolmachines.bottle_plan import MIB
from pytest_bottle.backends.smolmachines.bottle_plan import SmolmachinesBottlePlan
from pytest_bottle.backends.smolmachines.bottle_plan import machine_config
from pytest_bottle.backends.smolmachines.images import provide_image
from pytest_bottle.errors import CapabilityError
from pytest_bottle.values import network_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_bottle.backends.smolmachines.images import MachineImage
    from pytest_bottle.backends.smolmachines.smolvm import Smolvm
    from pytest_bottle.plan import BottlePlan

LEAST_MEMORY: Final = 64
"""MiB that a bottle's processes need at least, for the image's own programs to start."""


def prepare_image(smolvm: Smolvm, plan: BottlePlan, report: Callable[[str], None]) -> MachineImage:
    """Have the bottle's image ready, and check what else can be known before anything starts.

    Raises:
        CapabilityError: the plan asks for what no machine of this engine has.
        ImageError: the image cannot be had.
    """
    check_limits(plan)
    check_egress(plan)
    agent = plan.agent.kind if plan.agent else None
    return provide_image(smolvm, plan.image, report, agent=agent)


def resolve(plan: BottlePlan, image: MachineImage) -> SmolmachinesBottlePlan:
    """Return all that one machine takes.

    Raises:
        CapabilityError: as `check_limits` and `check_egress`.
    """
    check_limits(plan)
    check_egress(plan)
    return SmolmachinesBottlePlan(plan=plan, image=image, machine=machine_config(plan, image))


def check_limits(plan: BottlePlan) -> None:
    """Refuse limits with which no guest would boot.

    Raises:
        CapabilityError
    """
    memory = plan.limits.memory
    if memory is not None and memory < LEAST_MEMORY * MIB:
        raise CapabilityError(
            "smolmachines",
            reason=f"memory = {memory} bytes is too little for a microVM, whose processes need at "
            f"least {LEAST_MEMORY} MiB.",
            fix="raise `memory` in the manifest or in the marker, or use another backend",
        )


def check_egress(plan: BottlePlan) -> None:
    """Refuse destinations that the list would allow, and that no guest reaches all the same.

    Raises:
        CapabilityError
    """
    for destination in plan.network:
        network = network_of(destination)
        if destination == "localhost" or (network is not None and network.is_loopback):
            reason = "which in a microVM is its own loopback."
            fix = "name another address of the host's, and let the server listen on that"
        elif network is not None and network.version == 6:  # noqa: PLR2004 - as in IPv6
            reason = "and a microVM has no IPv6."
            fix = "name an IPv4 address or a host"
        else:
            continue
        reason = f"egress.network names {destination}, {reason}"
        raise CapabilityError("smolmachines", reason=reason, fix=f"{fix}, or remove it")
