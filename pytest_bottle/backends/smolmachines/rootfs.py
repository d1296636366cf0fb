"""Makes an archive of a root file system's directory.

The engine takes a directory as it is, too; but its machines of root's run as other users, and what
these may not read or enter on the host, such as /root, is closed to the guest's root as well.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
from typing import TYPE_CHECKING
from typing import Final
from typing import cast

from pytest_bottle.backends.smolmachines.archive import host_arch
from pytest_bottle.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

_SHELLS: Final = ("bin/sh", "usr/bin/sh")

_EXPORT: Final = (
    "`pytest-bottle image export NAME DIR` writes one, and so does unpacking what `docker export` "
    "writes."
)
_PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def check_rootfs(directory: Path) -> None:
    """Refuse a directory that is no root file system.

    Raises:
        ImageError
    """
    try:
        empty = next(directory.iterdir(), None) is None
    except OSError as problem:
        raise ImageError(
            str(directory),
            reason=f"it cannot be read: {problem.strerror}.",
            remedy=f"`chmod u+rx {directory}`.",
        ) from problem
    if empty:
        raise ImageError(str(directory), reason="it is an empty directory.", remedy=_EXPORT)
    # Their targets are the guest's: a link may lead where this host has nothing.
    if not any(os.path.lexists(directory / shell) for shell in _SHELLS):
        raise ImageError(
            str(directory), reason="it is no root file system: it has no /bin/sh.", remedy=_EXPORT
        )


def tree_digest(directory: Path) -> tuple[str, int]:
    """Return what changes with a directory's content, and the bytes of its files.

    Nothing is read: a file is told by its size and times, as `make` and `rsync` tell it.

    Raises:
        ImageError: part of it cannot be listed.
    """
    digest = hashlib.sha256()
    size = 0

    def refuse(problem: OSError) -> None:
        raise _unreadable(directory, problem)

    for parent, directories, files in os.walk(directory, onerror=refuse):
        directories.sort()
        for name in sorted([*directories, *files]):
            path = os.path.join(parent, name)  # noqa: PTH118 - Path objects cost more than stat
            seen = os.lstat(path)
            entry = (os.path.relpath(path, directory), seen.st_mode, seen.st_uid, seen.st_gid)
            content = (seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_rdev)
            digest.update(repr((entry, () if stat.S_ISDIR(seen.st_mode) else content)).encode())
            size += seen.st_size if stat.S_ISREG(seen.st_mode) else 0
    return digest.hexdigest(), size


def write_archive(directory: Path, target: Path) -> None:
    """Write a directory as `docker save` writes an image of one layer.

    What belongs to the user who runs this belongs to the guest's root, as it did before an export.

    Raises:
        ImageError: part of it cannot be read.
    """
    layer = target.with_name(f"{target.name}.layer")
    try:
        with layer.open("xb") as file:
            hashing = _Hashing(file)
            out = cast("BinaryIO", hashing)
            with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
                for entry in sorted(directory.iterdir()):
                    archive.add(entry, arcname=entry.name, filter=_as_roots)
        digest = hashing.digest.hexdigest()
        config = {
            "architecture": host_arch(),
            "os": "linux",
            "config": {"Env": [_PATH]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
        text = json.dumps(config).encode()
        name = f"{hashlib.sha256(text).hexdigest()}.json"
        manifest = [{"Config": name, "RepoTags": None, "Layers": [f"{digest}/layer.tar"]}]
        with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
            with layer.open("rb") as file:
                archive.addfile(_member(f"{digest}/layer.tar", layer.stat().st_size), file)
            for member, content in ((name, text), ("manifest.json", json.dumps(manifest).encode())):
                archive.addfile(_member(member, len(content)), io.BytesIO(content))
    except PermissionError as problem:
        raise _unreadable(directory, problem) from problem
    finally:
        layer.unlink(missing_ok=True)


class _Hashing:
    """A file that is only written to, and its digest."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)


def _as_roots(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = 0 if member.uid == os.geteuid() else member.uid
    member.gid = 0 if member.gid == os.getegid() else member.gid
    member.uname = member.gname = ""
    return member


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o644
    return member


def _unreadable(directory: Path, problem: OSError) -> ImageError:
    return ImageError(
        str(directory),
        reason=f"{problem.filename} cannot be read: {problem.strerror}.",
        remedy="Let the user who runs the tests read all of it.",
    )
