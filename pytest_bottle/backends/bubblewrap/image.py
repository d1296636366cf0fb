"""Directories that sandboxes take as their root file system: which one, and whether it will do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_bottle.backends.bubblewrap.layout import image_entries
from pytest_bottle.backends.bubblewrap.layout import mountpoints
from pytest_bottle.backends.bubblewrap.layout import mounts_below
from pytest_bottle.errors import CapabilityError

if TYPE_CHECKING:
    from pytest_bottle.plan import BottlePlan


def image_directory(plan: BottlePlan) -> Path | None:
    """Return the directory that a plan names as image; None where it names none.

    Raises:
        CapabilityError: it names anything else.
    """
    if plan.image is None:
        return None
    if plan.image.reference is None:
        raise CapabilityError(
            "bubblewrap",
            reason=f"it cannot build {plan.image.dockerfile}",
            fix="use the docker backend, or name a root file system's directory as image",
        )
    directory = Path(plan.image.reference).expanduser()
    if not directory.is_absolute() or not directory.is_dir():
        raise CapabilityError(
            "bubblewrap",
            reason=f"image {plan.image.reference!r} is no directory on this host",
            fix="give the absolute path of a root file system, or use the docker backend",
        )
    return directory


def check_reachable(image: Path) -> None:
    """Refuse an image that the user whom root becomes for a sandbox could not enter.

    Raises:
        CapabilityError
    """
    closed = [path for path in (image, *image.parents) if not path.stat().st_mode & 0o001]
    if os.getuid() == 0 and closed:
        raise CapabilityError(
            "bubblewrap",
            reason=f"image {image} is out of reach for the unprivileged user that root becomes for "
            f"a sandbox: {closed[-1]} is closed to others",
            fix=f"chmod o+x {closed[-1]}, or keep the image elsewhere",
        )


def check_mounts(image: Path) -> None:
    """Refuse an image with mounts in it, which an overlay would not show.

    Raises:
        CapabilityError
    """
    mounted = mountpoints()
    found = [below for entry in image_entries(image) for below in mounts_below(entry, mounted)]
    if found:
        raise CapabilityError(
            "bubblewrap",
            reason=f"{found[0]} is mounted in image {image}",
            fix=f"umount {found[0]}, or name a copy of the image",
        )
