"""Files of a guest, read and written by commands that every guest has.

Everything goes through the guest's own `cat` and `tar`, as the guest's own user: a link that leads
anywhere leads there inside the guest.
"""

from __future__ import annotations

import errno
import io
import os
import posixpath
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pytest_bottle.backends.base import FILE_LIMIT
from pytest_bottle.backends.base import ExecResult
from pytest_bottle.errors import OutputLimitError
from pytest_bottle.errors import UnsafePathError
from pytest_bottle.provision.archive import pack
from pytest_bottle.provision.steps import PutFile
from pytest_bottle.provision.steps import PutTree
from pytest_bottle.unpack import unpack

TREE_LIMIT: Final = 512 * 1024 * 1024
"""Bytes of a directory that may be copied out at once."""

_HEADERS_LIMIT: Final = 64 * 1024 * 1024
"""Bytes that an archive may have besides what is in its files."""

Execute = Callable[[tuple[str, ...], bytes | None, int], ExecResult]
"""Runs a command with an input and an output limit in bytes."""

_MISSING: Final = 44
_DIRECTORY: Final = 45
_FORBIDDEN: Final = 46
_NO_DIRECTORY: Final = 47
_ERRNO: Final = {
    _MISSING: errno.ENOENT,
    _DIRECTORY: errno.EISDIR,
    _FORBIDDEN: errno.EACCES,
    _NO_DIRECTORY: errno.ENOTDIR,
}

_READ: Final = f"""
[ -e "$1" ] || exit {_MISSING}
[ -d "$1" ] && exit {_DIRECTORY}
[ -r "$1" ] || exit {_FORBIDDEN}
exec cat -- "$1"
"""
_WRITE: Final = f"""
[ -d "$1" ] && exit {_DIRECTORY}
[ ! -e "$2" ] || [ -d "$2" ] || exit {_NO_DIRECTORY}
mkdir -p -- "$2" || exit 1
[ ! -e "$1" ] || [ -w "$1" ] || exit {_FORBIDDEN}
[ -e "$1" ] || [ -w "$2" ] || exit {_FORBIDDEN}
cat > "$1" || exit 1
[ -z "$3" ] || chmod -- "$3" "$1"
"""
_LIST: Final = f"""
[ -e "$1" ] || exit {_MISSING}
[ -d "$1" ] || exit {_NO_DIRECTORY}
[ -r "$1" ] && [ -x "$1" ] || exit {_FORBIDDEN}
cd -- "$1" || exit 1
for name in * .[!.]* ..?*; do
    if [ -e "$name" ] || [ -L "$name" ]; then printf '%s\\000' "$name"; fi
done
"""
_PUT: Final = f"""
[ ! -e "$1" ] || [ -d "$1" ] || exit {_NO_DIRECTORY}
mkdir -p -- "$1" || exit 1
[ -w "$1" ] || exit {_FORBIDDEN}
cd -- "$1" || exit 1
[ -z "$2" ] || [ ! -d "$2" ] || exit {_DIRECTORY}
[ -z "$3" ] || exec tar -xpof -
"""
_TAKE: Final = f"""
[ -e "$1/$2" ] || [ -L "$1/$2" ] || exit {_MISSING}
[ -r "$1/$2" ] || [ -L "$1/$2" ] || exit {_FORBIDDEN}
cd -- "$1" || exit 1
# GNU tar reads escapes in the names it is given; other tars have no such option, and no need.
case "$2" in *\\\\*)
    tar --no-unquote --version >/dev/null 2>&1 && set -- "$1" "$2" --no-unquote ;;
esac
exec tar -c $3 -f - "./$2"
"""


class GuestFiles:
    """The files of one guest.

    Args:
        execute: runs a command in the guest.
        workdir: what relative paths are below.
    """

    def __init__(self, execute: Execute, workdir: str) -> None:
        """Bind the guest."""
        self._execute = execute
        self._workdir = workdir

    def absolute(self, path: str) -> str:
        """Return a guest path in full.

        Raises:
            ValueError: it is empty or has a NUL character.
        """
        if not path or "\0" in path:
            message = f"not a path: {path!r}"
            raise ValueError(message)
        return posixpath.join(self._workdir, path)

    def _run(
        self,
        script: str,
        path: str,
        *more: str,
        data: bytes | None = None,
        limit: int = FILE_LIMIT,
        overhead: int = 0,
    ) -> bytes:
        """Run a script with a path as its first argument, and turn its refusals into errors."""
        argv = ("/bin/sh", "-c", script, "sh", path, *more)
        try:
            result = self._execute(argv, data, limit + overhead)
        except OutputLimitError as problem:
            raise OutputLimitError(path, limit=limit, remedy="Pass limit= for more.") from problem
        if result.returncode in _ERRNO:
            code = _ERRNO[result.returncode]
            raise OSError(code, os.strerror(code), path)
        if result.returncode != 0:
            words = result.stderr.strip()
            raise OSError(_guess_errno(words), words or f"exit {result.returncode}", path)
        return result.stdout_bytes

    def read(self, path: str, *, limit: int) -> bytes:
        """Return a file's content; see `Bottle.read_file`."""
        return self._run(_READ, self.absolute(path), limit=limit)

    def write(self, path: str, data: bytes, *, mode: int | None) -> None:
        """Write a file; see `Bottle.write_file`."""
        if len(data) > FILE_LIMIT:
            raise OutputLimitError(
                f"what is written to {path}", limit=FILE_LIMIT, remedy="Write it in parts."
            )
        full = self.absolute(path)
        bits = "" if mode is None else f"{mode:o}"
        self._run(_WRITE, full, posixpath.dirname(full) or "/", bits, data=data)

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a directory."""
        output = self._run(_LIST, self.absolute(path))
        return sorted(os.fsdecode(name) for name in output.split(b"\0") if name)

    def exists(self, path: str) -> bool:
        """Tell whether there is something, be it a link that leads nowhere."""
        script = '[ -e "$1" ] || [ -L "$1" ]'
        argv = ("/bin/sh", "-c", script, "sh", self.absolute(path))
        return self._execute(argv, None, FILE_LIMIT).success

    def put(self, source: Path, path: str) -> None:
        """Copy a host file or directory in; see `Bottle.copy_in`."""
        if not source.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))
        full = self.absolute(path)
        if full.endswith("/"):
            full += Path(os.path.abspath(source)).name  # noqa: PTH100 - not what a link leads to
        full = posixpath.normpath(full)
        if source.is_dir():
            directory, name = full, ""
            archive = pack([PutTree(path="/", source=source)])
        else:
            directory, name = posixpath.split(full)
            archive = pack([PutFile(path=f"/{name}", source=source)])
        self._run(_PUT, directory, f"./{name}" if name else "", "x" * bool(archive), data=archive)

    def take(self, path: str, destination: Path, *, limit: int) -> Path:
        """Copy a guest file or directory out; see `Bottle.copy_out`."""
        full = posixpath.normpath(self.absolute(path))
        parent, name = posixpath.split(full)
        if not name:
            raise UnsafePathError(full, reason="the whole guest cannot be copied out")
        if destination.is_dir():
            destination /= name
        if os.path.lexists(destination):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(destination))
        archive = self._run(_TAKE, parent, name, limit=limit, overhead=_HEADERS_LIMIT)
        destination.parent.mkdir(parents=True, exist_ok=True)
        # Beside the destination, so that it appears whole or not at all.
        with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".bottle-") as directory:
            unpack(io.BytesIO(archive), Path(directory), limit=limit)
            unpacked = Path(directory) / name
            if not os.path.lexists(unpacked):
                raise UnsafePathError(full, reason="the guest sent something else")
            unpacked.rename(destination)
        return destination


def _guess_errno(words: str) -> int:
    """Return the error that a guest's tool named in its own words."""
    codes = (errno.EACCES, errno.ENOTDIR, errno.EISDIR, errno.EROFS, errno.ENOSPC, errno.ENOENT)
    for code in codes:
        if os.strerror(code).lower() in words.lower():
            return code
    return errno.EIO
