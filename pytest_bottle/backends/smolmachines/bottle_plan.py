"""What one microVM is made of: a bottle's plan, with all that the engine wants to know resolved."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.backends.smolmachines.labels import labels
from pytest_bottle.backends.smolmachines.smolvm import MachineConfig
from pytest_bottle.values import network_of

if TYPE_CHECKING:
    from pytest_bottle.backends.smolmachines.images import MachineImage
    from pytest_bottle.plan import BottlePlan

MIB: Final = 1024 * 1024

OVERHEAD: Final = 192
"""MiB of a machine's memory for its kernel and the engine's agent: a bottle's own limit is what
its processes may take."""

CPU_PERIOD: Final = 100_000
"""Microseconds; the kernel's default for control groups."""

MACHINE_KIND: Final = "smolmachines:machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmolmachinesBottlePlan:
    """One microVM, resolved; nothing is started."""

    plan: BottlePlan
    image: MachineImage
    machine: MachineConfig

    @property
    def name(self) -> str:
        """The machine's name, which is the bottle's, and the guest's hostname."""
        return self.plan.name

    @property
    def limits(self) -> dict[str, str]:
        """What the guest's control group gets, by its files' names."""
        limits = self.plan.limits
        found: dict[str, str] = {}
        if limits.memory is not None:
            found |= {"memory.max": str(limits.memory), "memory.swap.max": "0"}
        if limits.pids is not None:
            found["pids.max"] = str(limits.pids)
        if limits.cpus is not None:
            found["cpu.max"] = f"{round(limits.cpus * CPU_PERIOD)} {CPU_PERIOD}"
        return found


def machine_config(plan: BottlePlan, image: MachineImage) -> MachineConfig:
    """Return what the engine is asked for: the network of the plan, if any, and its limits."""
    limits = plan.limits
    cpus = None if limits.cpus is None else max(1, math.ceil(limits.cpus))
    memory = None if limits.memory is None else OVERHEAD + math.ceil(limits.memory / MIB)
    networks = {destination: network_of(destination) for destination in plan.network}
    return MachineConfig(
        name=plan.name,
        image=image.image,
        pack=None if image.pack is None else str(image.pack),
        cpus=cpus or min(4, os.cpu_count() or 1),
        memory=memory,
        # An engine's pack has lost them; of others than our own they are not known.
        user=(image.user or None) if image.pack else None,
        env=image.env if image.pack else {},
        labels=labels(plan),
        allow_cidrs=[str(network) for network in networks.values() if network is not None],
        allow_names=[name for name, network in networks.items() if network is None],
    )
