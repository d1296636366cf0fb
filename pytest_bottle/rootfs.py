"""Makes the directory of a root file system: whole, or not at all."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_bottle.errors import OptionError
from pytest_bottle.state.tree import remove_tree
from pytest_bottle.unpack import unpack_root

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from typing import IO


def write_rootfs(archive: IO[bytes], directory: Path, advance: Callable[[int], None]) -> None:
    """Unpack an archive of a root file system; see `unpack_root`.

    Args:
        archive: An uncompressed tar stream.
        directory: Where to; it must not exist yet, or be empty.
        advance: Gets the number of bytes in each file that was written.

    Raises:
        OptionError: the directory is in use.
        UnsafePathError: the archive is hostile, or broken.
        OSError: it cannot be written.
    """
    check_destination(directory)
    with _draft(directory) as draft:
        unpack_root(archive, draft, advance=advance)
        draft.chmod(0o755)
        # In the place of an empty directory, but of nothing else.
        draft.rename(directory)


def check_destination(directory: Path) -> None:
    """Refuse what is there already, unless it is an empty directory.

    Raises:
        OptionError: there is something.
    """
    if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
        problem = f"{directory} is there, and is no directory."
    elif directory.is_dir() and next(directory.iterdir(), None) is not None:
        problem = f"{directory} is not empty."
    else:
        return
    remedy = "Name a directory that does not exist yet."
    raise OptionError(problem, option="DIR", source="the command line", remedy=remedy)


@contextlib.contextmanager
def _draft(directory: Path) -> Iterator[Path]:
    """Yield an empty directory beside another one, which nobody else may enter."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}."))
    try:
        yield draft
    finally:
        remove_tree(draft)  # Where it was moved to its place, there is nothing left.
