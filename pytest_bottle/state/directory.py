"""Where the plugin keeps its state on this host, and whether that place is safe to use.

The state directory is shared by all runs of one user, whatever TMPDIR each of them has::

    <root>/runs/<run id>/   everything of one run
    <root>/slots/           host-wide admission
    <root>/starts/          locks under which runs begin
    <root>/cache/           what later runs may use again
    <root>/images/          of microVMs; of root's, the engine's users may read them by their path
    <root>/bin/             executables; of root's, others may run them by their full path
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from pytest_bottle.errors import StateDirectoryError

STATE_VARIABLE = "BOTTLE_STATE_DIR"
"""The environment variable that moves the state directory."""


def state_root() -> Path:
    """Return the state directory, made where it is missing.

    Raises:
        StateDirectoryError: it is a symbolic link, no directory, or somebody else's.
    """
    chosen = os.environ.get(STATE_VARIABLE)
    if chosen:
        root = Path(chosen).absolute()
        root.parent.mkdir(parents=True, exist_ok=True)
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches" / "pytest-bottle"
        root.parent.mkdir(parents=True, exist_ok=True)
    else:
        # Not the temporary directory of this run: concurrent runs have to meet here.
        root = Path(f"/tmp/pytest-bottle-{os.geteuid()}")  # noqa: S108 - ownership is checked
    return _own(root, _passage())


def runs_directory() -> Path:
    """Return `<root>/runs`, made where it is missing."""
    return _own(state_root() / "runs", 0o700)


def slots_directory() -> Path:
    """Return `<root>/slots`, made where it is missing."""
    return _own(state_root() / "slots", 0o700)


def cache_directory() -> Path:
    """Return `<root>/cache`, made where it is missing."""
    return _own(state_root() / "cache", 0o700)


def images_directory() -> Path:
    """Return `<root>/images`, made where it is missing."""
    return _own(state_root() / "images", _passage())


def bin_directory() -> Path:
    """Return `<root>/bin`, made where it is missing."""
    return _own(state_root() / "bin", _passage())


def _passage() -> int:
    """Return a mode that lets the user whom root becomes for a sandbox pass, but not look."""
    return 0o711 if os.geteuid() == 0 else 0o700


def _own(path: Path, mode: int) -> Path:
    try:
        seen = path.lstat()
    except FileNotFoundError:
        path.mkdir(mode, exist_ok=True)
        seen = path.lstat()
    if not stat.S_ISDIR(seen.st_mode):
        raise StateDirectoryError(str(path), reason="it is not a directory.")
    if seen.st_uid != os.geteuid():
        raise StateDirectoryError(str(path), reason=f"it belongs to uid {seen.st_uid}.")
    if stat.S_IMODE(seen.st_mode) != mode:
        path.chmod(mode)
    return path
