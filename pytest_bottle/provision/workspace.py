"""Provisions the working directory and the plan's files."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from pytest_bottle.provision.steps import MakeDirectory
from pytest_bottle.provision.steps import PutFile
from pytest_bottle.provision.steps import PutTree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_bottle.plan import BottlePlan
    from pytest_bottle.plan import FilePlan
    from pytest_bottle.provision.steps import GuestPaths
    from pytest_bottle.provision.steps import Step


def provision_workspace(plan: BottlePlan, guest: GuestPaths) -> Sequence[Step]:
    """Return the steps for the workdir and for files, which are below it, `~/` or `/`."""
    return (MakeDirectory(path=guest.workdir), *(_put(file, guest) for file in plan.files))


def _put(file: FilePlan, guest: GuestPaths) -> Step:
    first, _, rest = file.guest.partition("/")
    base, name = (guest.home, rest) if first == "~" else (guest.workdir, file.guest)
    path = posixpath.normpath(posixpath.join(base, name))
    if file.source is not None and file.source.is_dir():
        return PutTree(path=path, source=file.source)
    content = None if file.text is None else file.text.encode()
    return PutFile(path=path, source=file.source, content=content, mode=file.mode)
