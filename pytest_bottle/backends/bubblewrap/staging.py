"""The place from which bwrap takes a sandbox's file system: one tmpfs, seen by bwrap alone.

It holds the sandbox's root directory and what its overlays write, so that one size limits all of
it. bwrap's own `--tmp-overlay` writes to a tmpfs without a limit. It is mounted in a mount
namespace of bwrap's process, and ends with it.

Where root starts the sandbox, the trees below the overlays are idmapped mounts on which their
owner is the sandbox's user: an overlay lets nobody change what he could not change below it.
"""

# Every object that is made right after a fork is paid for with copied pages: no Path.
# ruff: noqa: PTH102, PTH103, PTH120

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.backends.bubblewrap import mounts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence

PLACE: Final = "/sys"
"""A directory that every host has and no sandbox needs: what is in it is hidden from bwrap."""

ROOT: Final = f"{PLACE}/root"
"""What becomes the sandbox's root directory."""

REFUSED: Final = "no overlays can be staged here"

_STRANGERS: Final = 1_800_000_000
"""First of the uids that own, in a sandbox, what belongs to others than a tree's owner."""
_IDS: Final = 65_536
_PIECE: Final = 1024 * 1024


class StagingError(Exception):
    """A sandbox cannot be staged; the message starts with `REFUSED` where none can be here."""


def place(number: int) -> tuple[str, str, str]:
    """Return where the Nth tree is, what its overlay writes to, and the overlay's work directory.

    None of them is in the sandbox's root directory.
    """
    return f"{PLACE}/{number}", f"{PLACE}/{number}-upper", f"{PLACE}/{number}-work"


def mount(stage: Mapping[str, Any], user: tuple[int, int] | None) -> set[int]:
    """Mount a stage in a new mount namespace of this process; return which trees were given.

    Args:
        stage: `size` in bytes; `trees`, each with its `source`, and its `owner`, a uid and a gid
            whose files become the sandbox's user's. One without an owner is not mounted: its
            overlay takes it where it is.
        user: The uid and gid that the sandbox will be; None are this process's, which need not be
            root's, and can be given no files.

    Raises:
        StagingError: this host does not permit it.
    """
    given: set[int] = set()
    try:
        if user is None:
            mounts.unshare_user_and_mounts()
        else:
            mounts.unshare_mounts()
        uid, gid = user or (os.getuid(), os.getgid())
        mounts.mount_tmpfs(PLACE, size=stage["size"], uid=uid, gid=gid)
        for number, tree in enumerate(stage["trees"]):
            if tree["owner"] is not None:
                namespace = _namespace(tree["owner"], user) if user else None
                if _mount_tree(tree["source"], place(number)[0], namespace):
                    given.add(number)
    except OSError as problem:
        message = f"{REFUSED}: {problem}"
        raise StagingError(message) from problem
    return given


def foresee(stage: Mapping[str, Any], user: tuple[int, int]) -> None:
    """Make what `mount` will need for a next sandbox like this, of a next user.

    For the process of which those that call `mount` are forked, when it has nothing else to do.
    """
    spare = list(_namespaces.values())
    _namespaces.clear()
    for fd in spare:
        if fd is not None:
            os.close(fd)
    for tree in stage["trees"]:
        if tree["owner"] is not None:
            _namespace(tree["owner"], user)


_namespaces: Final[dict[tuple[int, ...], int | None]] = {}


def _namespace(owner: Sequence[int], user: tuple[int, int]) -> int | None:
    """Return a user namespace that gives an owner's files to a user; None where it cannot be.

    Both are a uid and a gid.
    """
    key = (*owner, *user)
    if key not in _namespaces:
        uids, gids = (_give(*ids) for ids in zip(owner, user, strict=True))
        try:
            _namespaces[key] = mounts.user_namespace(uids, gids)
        except OSError:  # A container that has too few ids, for one.
            _namespaces[key] = None
    return _namespaces[key]


def _give(owner: int, user: int) -> Sequence[tuple[int, int, int]]:
    """Map an owner's id to a user's, and every other to one that nobody has."""
    others = ((0, owner), (owner + 1, _IDS))
    return (
        (owner, user, 1),
        *((first, _STRANGERS + first, end - first) for first, end in others if first < end),
    )


def _mount_tree(source: str, target: str, user_namespace: int | None) -> bool:
    """Mount a tree with other owners; return False where they had to stay as they are."""
    os.mkdir(target)
    tree = mounts.clone_tree(source)
    given = user_namespace is not None
    try:
        mounts.restrict(tree, user_namespace)
    except OSError:
        if not given:
            raise
        mounts.restrict(tree, None)
        given = False
    mounts.attach(tree, target)
    return given


def fill(stage: Mapping[str, Any], given: set[int]) -> None:
    """Make, as the sandbox's user, the directories and files that bwrap finds there.

    Args:
        stage: `size`; `trees`, each with the `directories` in it that become the user's own where
            it is not given; `copies`, pairs of a host's file and its path in the sandbox.
        given: What `mount` returned.

    Raises:
        StagingError: this host does not permit it.
    """
    os.umask(0o022)
    try:
        os.mkdir(ROOT)
        for number, tree in enumerate(stage["trees"]):
            _, upper, work = place(number)
            os.mkdir(upper)
            os.mkdir(work)
            for directory in () if number in given else tree["directories"]:
                os.mkdir(f"{upper}/{directory}")
        for source, target in stage["copies"]:
            _copy(source, ROOT + target)
    except OSError as problem:
        if problem.errno == errno.ENOSPC:
            message = f"a disk limit of {stage['size']} bytes is too small for a sandbox"
            raise StagingError(message) from problem
        message = f"{REFUSED}: {problem}"
        raise StagingError(message) from problem


def _copy(source: str, target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    read = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    write = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    while os.sendfile(write, read, None, _PIECE):
        pass
    os.close(write)
    os.close(read)
