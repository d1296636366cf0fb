"""Keeps images in the forms that the engine starts from, for all runs on this host.

An entry is a directory, named by its form and the digest of the image's content, that appears
whole: a process that dies leaves a draft, which the next one removes. The files may be read by all,
because the engine starts machines of root's as other users.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.errors import ImageError
from pytest_bottle.state.directory import images_directory
from pytest_bottle.state.publish import locked
from pytest_bottle.state.publish import publish
from pytest_bottle.state.publish import read_json
from pytest_bottle.state.tree import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Sequence
    from pathlib import Path

ARCHIVE: Final = "archive"
PACK: Final = "pack"

SUFFIXES: Final = {ARCHIVE: ".tar", PACK: ".smolmachine"}
"""The forms of an image, with the ends of their files' names."""

_ABOUT: Final = "about.json"
_ENTRY: Final = re.compile(rf"({ARCHIVE}|{PACK})-[0-9a-f]+")
_SPARE: Final = 256 << 20
"""Bytes that stay free on the disk."""
_POLL: Final = 0.1

SUPERSEDED_AFTER: Final = 86400.0
"""Seconds without use after which an image goes that another one of its name has replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedImage:
    """An image in the cache."""

    key: str
    """The digest of its content."""
    form: str
    name: str
    """As its user called it."""
    path: Path
    size: int
    """Bytes of the file."""
    user: str
    env: tuple[tuple[str, str], ...]
    arch: str
    used: float
    """When it was last asked for, in seconds since 1970."""

    @property
    def label(self) -> str:
        """Its name for people: short, and distinct from any other."""
        return f"{self.form}-{self.key[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of an image beside its content."""

    name: str
    user: str = ""
    env: tuple[tuple[str, str], ...] = ()
    arch: str = ""


def find_cached(form: str, key: str) -> CachedImage | None:
    """Return an image that the cache has, and note that it was asked for."""
    directory = _entry(form, key)
    found = _read(directory)
    if found is not None:
        with contextlib.suppress(FileNotFoundError):
            os.utime(directory / _ABOUT)
    return found


def add_cached(
    form: str, key: str, facts: Facts, *, size: int, write: Callable[[Path], Facts | None]
) -> CachedImage:
    """Return an image that the cache has, or has from now on; one process makes it.

    Args:
        form: `ARCHIVE` or `PACK`.
        key: the digest of its content.
        facts: what is known of it.
        size: bytes that it will take, about.
        write: writes the file that it is given; may return better facts.

    Raises:
        ImageError: the disk is too small.
        Exception: what `write` raises; nothing remains of its work.
    """
    directory = _entry(form, key)
    with locked(_lock(directory), poll=_POLL):
        found = find_cached(form, key)
        if found is not None:
            return found
        draft = directory.with_name(f".{directory.name}.draft")
        remove_tree(draft)
        check_space(facts.name, draft.parent, size)
        try:
            _write(draft, form, key, facts, write)
            draft.rename(directory)
        finally:
            remove_tree(draft)
    made = _read(directory)
    if made is None:
        raise ImageError(
            facts.name,
            reason=f"{directory} was removed while it was made.",
            remedy="Start the run again.",
        )
    _drop_superseded(made)
    return made


def _write(
    draft: Path, form: str, key: str, facts: Facts, write: Callable[[Path], Facts | None]
) -> None:
    draft.mkdir(mode=0o755)
    draft.chmod(0o755)
    file = draft / f"image{SUFFIXES[form]}"
    try:
        facts = write(file) or facts
    except OSError as problem:
        if problem.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise _full(facts.name, draft.parent) from problem
    file.chmod(0o644)
    about = {
        "key": key,
        "form": form,
        "name": facts.name,
        "user": facts.user,
        "env": dict(facts.env),
        "arch": facts.arch,
    }
    publish(draft / _ABOUT, json.dumps(about))


def list_cached() -> Sequence[CachedImage]:
    """Return all images of the cache, sorted by name and form."""
    found = (_read(entry) for entry in images_directory().iterdir())
    return sorted(
        (image for image in found if image is not None),
        key=lambda image: (image.name, image.form, image.key),
    )


def remove_cached(image: CachedImage) -> None:
    """Remove an image; absent already is fine. Machines that were made of it stay as they are.

    Raises:
        OSError: it is still there.
    """
    directory = _entry(image.form, image.key)
    with locked(_lock(directory), poll=_POLL):
        remove_tree(directory)


def remove_drafts() -> None:
    """Remove what processes left behind that died while they made an image."""
    for draft in images_directory().glob(".*.draft"):
        directory = draft.with_name(draft.name.removeprefix(".").removesuffix(".draft"))
        # Where somebody holds the lock, somebody writes.
        with contextlib.suppress(TimeoutError), locked(_lock(directory), timeout=0):
            remove_tree(draft)


def check_space(name: str, directory: Path, size: int) -> None:
    """Refuse what the disk has no room for.

    Raises:
        ImageError
    """
    if shutil.disk_usage(directory).free < size + _SPARE:
        raise _full(name, directory, size)


def _full(name: str, directory: Path, size: int = 0) -> ImageError:
    needed = f"it needs about {size >> 20} MiB, and " if size else ""
    free = shutil.disk_usage(directory).free >> 20
    return ImageError(
        name,
        reason=f"{needed}the disk of {directory} has {free} MiB left.",
        remedy="Make room (`pytest-bottle image prune`), or move the state: BOTTLE_STATE_DIR.",
    )


def _drop_superseded(image: CachedImage) -> None:
    """Remove what had the image's name before and is out of use; large, and soon forgotten."""
    for other in list_cached():
        same = (other.name, other.form) == (image.name, image.form) and other.key != image.key
        if same and time.time() - other.used > SUPERSEDED_AFTER:
            with contextlib.suppress(OSError):
                remove_cached(other)


def _entry(form: str, key: str) -> Path:
    return images_directory() / f"{form}-{key}"


def _lock(directory: Path) -> Path:
    return directory.with_name(f".{directory.name}.lock")


def _read(directory: Path) -> CachedImage | None:
    """Return the image in a directory, None where there is none."""
    if not _ENTRY.fullmatch(directory.name):
        return None
    about = directory / _ABOUT
    try:
        said = read_json(about)
        form = str(said["form"])
        path = directory / f"image{SUFFIXES[form]}"
        return CachedImage(
            key=said["key"],
            form=form,
            name=said["name"],
            path=path,
            size=path.stat().st_size,
            user=said["user"],
            env=tuple(said["env"].items()),
            arch=said["arch"],
            used=about.stat().st_mtime,
        )
    except (OSError, ValueError, LookupError, TypeError):
        return None
