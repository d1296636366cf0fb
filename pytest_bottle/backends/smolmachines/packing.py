"""Makes a `.smolmachine` of an image: a machine as it is after its first start, in one file."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.backends.smolmachines.admission import admitted
from pytest_bottle.backends.smolmachines.failures import SmolvmError
from pytest_bottle.backends.smolmachines.labels import NAME_LABEL
from pytest_bottle.backends.smolmachines.labels import OWNER_LABEL
from pytest_bottle.backends.smolmachines.removal import remove_quietly
from pytest_bottle.backends.smolmachines.smolvm import MachineConfig
from pytest_bottle.errors import ImageError
from pytest_bottle.state.owner import Owner

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

    from pytest_bottle.backends.smolmachines.smolvm import Smolvm

_MEMORY: Final = 1024
"""MiB of the machine that is packed."""


def pack(
    smolvm: Smolvm, name: str, image: str, target: Path, report: Callable[[str], None]
) -> None:
    """Write a pack of an image; the machine that this takes is removed, whatever happens.

    It has its owner in its labels: where this process dies, the reaper finds it by them.

    Args:
        smolvm: the engine.
        name: the image's, for people.
        image: what the engine starts from.
        target: the file to write.
        report: gets lines of progress.

    Raises:
        ImageError: a step failed.
    """
    machine = f"bottle-pack-{os.getpid()}-{secrets.token_hex(4)}"
    labels = {NAME_LABEL: machine, OWNER_LABEL: Owner.current().encode()}
    # The engine writes a program beside the pack, which has no use here.
    with (
        tempfile.TemporaryDirectory(dir=target.parent, prefix=".pack-") as directory,
        _removed(smolvm, machine),
    ):
        try:
            report(f"creating a machine of {name}")
            smolvm.machine_create(
                MachineConfig(name=machine, image=image, cpus=1, memory=_MEMORY, labels=labels)
            )
            report(f"starting it: {machine}")
            with admitted(machine, image):
                smolvm.machine_start(machine)
            smolvm.machine_stop(machine)
            report("packing it")
            packed = Path(directory) / "packed"
            with admitted(machine):  # It boots a machine of its own for that.
                smolvm.pack_create(packed, machine=machine)
        except SmolvmError as problem:
            raise ImageError(
                name,
                reason=f"the engine cannot pack it: {problem.message.rstrip('.')}.",
                remedy="Where a start is the reason, `smolvm machine start` must work first.",
            ) from problem
        shutil.move(packed.with_name(f"{packed.name}.smolmachine"), target)


@contextlib.contextmanager
def _removed(smolvm: Smolvm, machine: str) -> Iterator[None]:
    """Remove a machine at the end; what cannot be removed now is the reaper's."""
    try:
        yield
    finally:
        remove_quietly(smolvm, machine)
