"""What a bottle's plan comes to for a microVM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_bottle.backends.smolmachines.bottle_plan import OVERHEAD
from pytest_bottle.backends.smolmachines.bottle_plan import SmolmachinesBottlePlan
from pytest_bottle.backends.smolmachines.images import MachineImage
from pytest_bottle.backends.smolmachines.labels import OWNER_LABEL
from pytest_bottle.backends.smolmachines.prepare import check_limits
from pytest_bottle.backends.smolmachines.prepare import resolve
from pytest_bottle.errors import CapabilityError
from pytest_bottle.plan import BottlePlan
from pytest_bottle.plan import Limits
from pytest_bottle.state.owner import Owner

MIB = 1024 * 1024
IMAGE = MachineImage(name="base", image="/images/base.tar")


def planned(
    image: MachineImage = IMAGE, *, network: tuple[str, ...] = (), **limits: Any
) -> SmolmachinesBottlePlan:
    plan = BottlePlan(
        name="bottle-r-gw1-3",
        run_id="r",
        worker="gw1",
        backend="smolmachines",
        state_dir=Path("/state"),
        limits=Limits(**limits),
        network=network,
    )
    return resolve(plan, image)


def test_it_has_no_network():
    machine = planned().machine
    assert not any([machine.allow_cidrs, machine.allow_names])


def test_what_it_may_reach_is_sorted_as_the_engine_takes_it():
    machine = planned(
        network=("*.example.org", "10.0.0.0/8", "192.0.2.7", "docs.python.org")
    ).machine
    assert machine.allow_cidrs == ["10.0.0.0/8", "192.0.2.7/32"]
    assert machine.allow_names == ["*.example.org", "docs.python.org"]


@pytest.mark.parametrize(
    ("destination", "reason"),
    [
        ("127.0.0.1", "which in a microVM is its own loopback"),
        ("127.0.0.0/8", "which in a microVM is its own loopback"),
        ("localhost", "which in a microVM is its own loopback"),
        ("2001:db8::/32", "and a microVM has no IPv6"),
    ],
)
def test_what_no_guest_can_reach_is_not_allowed_in_vain(destination, reason):
    with pytest.raises(CapabilityError, match=f"egress.network names {destination}, {reason}"):
        planned(network=("192.0.2.7", destination))


def test_the_machine_is_called_as_the_bottle():
    assert planned().name == planned().machine.name == "bottle-r-gw1-3"


def test_its_labels_tell_whose_it_is():
    labels = planned().machine.labels
    assert labels["pytest-bottle.run"] == "r"
    assert labels["pytest-bottle.worker"] == "gw1"
    assert Owner.decode(labels[OWNER_LABEL]) == Owner.current()


def test_its_memory_is_the_bottles_and_the_kernels():
    resolved = planned(memory=256 * MIB)
    assert resolved.machine.memory == 256 + OVERHEAD
    assert resolved.limits["memory.max"] == str(256 * MIB)
    assert resolved.limits["memory.swap.max"] == "0"


@pytest.mark.parametrize(("cpus", "whole"), [(0.5, 1), (1, 1), (1.5, 2)])
def test_a_part_of_a_cpu_is_bounded_in_the_guest(cpus, whole):
    resolved = planned(cpus=cpus)
    assert resolved.machine.cpus == whole
    assert resolved.limits["cpu.max"] == f"{round(cpus * 100_000)} 100000"


def test_processes_are_bounded_in_the_guest():
    assert planned(pids=100).limits == {"pids.max": "100"}


def test_a_pack_goes_before_an_image():
    machine = planned(MachineImage(name="x", pack=Path("/x.smolmachine"))).machine
    assert (machine.image, machine.pack) == (None, "/x.smolmachine")


def test_too_little_memory_is_refused_with_what_is_enough():
    with pytest.raises(CapabilityError, match=r"memory = 16777216 bytes.*64 MiB"):
        planned(memory=16 * MIB)
    check_limits(planned(memory=64 * MIB).plan)
