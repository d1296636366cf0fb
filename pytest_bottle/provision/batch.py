"""All steps as one command: a POSIX shell script with one archive on its stdin.

Wipes come first, then directories, then files, each kind in the order of its steps, then the
commands. The script says nothing on stdout until the end, where it writes a tar of the workdir as
it was provisioned: the state from which later changes are told, for no further round trip.
"""

from __future__ import annotations

import posixpath
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.errors import UnsafePathError
from pytest_bottle.provision.archive import pack
from pytest_bottle.provision.steps import MakeDirectory
from pytest_bottle.provision.steps import PutFile
from pytest_bottle.provision.steps import PutTree
from pytest_bottle.provision.steps import Run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Iterator
    from collections.abc import Sequence

    from pytest_bottle.provision.steps import Step


FAILED: Final = "pytest-bottle: provisioning command failed"
"""Begins the line on stderr about a command that failed."""

ARCHIVE_HERE: Final = """
for entry in * .[!.]* ..?*; do
    if [ -e "$entry" ] || [ -L "$entry" ]; then exec tar -cf - . ; fi
done
"""
"""Writes a tar of the current directory to stdout; nothing where it is empty. It starts no process
to find that out: every one costs milliseconds, and this is run for every bottle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One command for a guest, to be run in a directory that exists, such as `/`.

    Its stdout is a tar of the workdir, or empty where the workdir is empty; its stderr is whatever
    the steps had to say. It fails with the return code of the first step that failed.
    """

    script: tuple[str, ...]
    """The argument vector: `sh -c` and the script."""
    archive: bytes
    """The script's stdin."""


def build_batch(steps: Iterable[Step], *, workdir: str, root: str = "/") -> Batch:
    """Return the one command that performs all steps.

    Args:
        steps: What the provisioners returned.
        workdir: The guest directory whose content is written to stdout at the end.
        root: The guest's root directory; commands are not confined to another one.

    Raises:
        ManifestError: a source on the host is gone or cannot be read.
        UnsafePathError: a guest path is not absolute, leaves its root or is used twice, or a tree
            on the host has a link that leads out of it.
    """
    steps = tuple(steps)
    for step in steps:
        if not isinstance(step, Run):
            _check_path(step.path)
    _check_path(workdir)
    archive = pack(step for step in steps if isinstance(step, PutFile | PutTree))
    # Without root, busybox's tar takes the umask off the modes even with -p.
    unpack = ("umask 000", f"tar -xpof - -C {shlex.quote(root)}", "umask 022")
    lines = (
        "set -eu",
        "umask 022",
        "{",
        ":",
        *_wipes(steps, root),
        *_directories(steps, root),
        *(unpack if archive else ()),
        *(_command(step) for step in steps if isinstance(step, Run)),
        "} >&2",
        f"cd {_quoted(workdir, root)}",
        ARCHIVE_HERE,
    )
    return Batch(script=("sh", "-c", "\n".join(lines)), archive=archive)


def _check_path(path: str) -> None:
    plain = path == posixpath.normpath(path) and "\0" not in path
    if not plain or not path.startswith("/") or path.startswith("//"):
        reason = "a guest path must be absolute and in its normal form, without `..`."
        raise UnsafePathError(path, reason=reason)


def _quoted(path: str, root: str) -> str:
    return shlex.quote(posixpath.join(root, path.lstrip("/")))


def _wipes(steps: Sequence[Step], root: str) -> Iterator[str]:
    for step in steps:
        if isinstance(step, PutTree) and step.wipe:
            if step.path == "/":
                raise UnsafePathError(step.path, reason="the root cannot be wiped.")
            path = _quoted(step.path, root)
            yield f"if [ -e {path} ] || [ -L {path} ]; then rm -rf -- {path}; fi"


def _directories(steps: Sequence[Step], root: str) -> Iterator[str]:
    """Make parents here, so that the archive leaves the modes of directories that exist alone."""
    made = dict.fromkeys(_directory(step) for step in steps if not isinstance(step, Run))
    for path in made:
        yield f"[ -d {_quoted(path, root)} ] || mkdir -p -- {_quoted(path, root)}"


def _directory(step: MakeDirectory | PutFile | PutTree) -> str:
    """Return the directory that must be there before the archive is unpacked."""
    in_archive = isinstance(step, PutFile) or (isinstance(step, PutTree) and step.wipe)
    return posixpath.dirname(step.path) if in_archive else step.path


def _command(run: Run) -> str:
    command = shlex.join(run.argv)
    if run.env:
        command = f"env -- {shlex.join(f'{name}={value}' for name, value in run.env)} {command}"
    what = shlex.quote(f"{FAILED}: {run.argv[0]}")
    after = 'exit "$code"' if run.required else ":"
    return f"{command} </dev/null || {{ code=$?; echo {what} >&2; {after}; }}"
