"""Programs that an ordinary user runs, where the tests themselves are run by root.

That user may not even be able to read the Python that runs the tests. For that, a mount namespace
of its own opens the directories on the way there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest_bottle

if TYPE_CHECKING:
    from collections.abc import Sequence

UID = 12345
"""Of nobody, so without groups, a home or permissions of its own."""

AS_USER = ("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups")
"""What turns root into that user."""

OPEN = """\
set -e
scratch=$1
shift
mount -t tmpfs -o mode=755 none "$scratch"
while [ "$1" != -- ]; do
    layer=$(mktemp -d "$scratch/XXXXXX")
    chmod 755 "$layer"
    mkdir -m 755 "$layer/upper" "$layer/work"
    mount -t overlay -o "lowerdir=$1,upperdir=$layer/upper,workdir=$layer/work" overlay "$1"
    shift
done
shift
exec "$@"
"""
"""Lays over each directory one that shows the same, with permissions for all, in this namespace."""


def closed_directories() -> list[str]:
    """Return the directories on the way to what the user's Python needs that it may not pass."""
    needed = [
        sys.executable,
        os.path.realpath(sys.executable),
        sys.prefix,
        sys.base_prefix,
        sysconfig.get_path("purelib"),
        pytest_bottle.__file__,
    ]
    passed = {folder for path in needed for folder in Path(path).parents}
    passed |= {Path(path) for path in needed if Path(path).is_dir()}
    return [str(path) for path in sorted(passed) if not path.stat().st_mode & 0o001]


def run_within_reach(
    home: Path, argv: Sequence[str | Path], *, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a program that becomes the user, as root, with all that the user's Python needs open.

    Args:
        home: A directory of the user's own, in which nothing has been run yet.
        argv: Program and arguments.
        timeout: Seconds.
    """
    closed = closed_directories()
    scratch = home / "layers"
    scratch.mkdir()
    opening = ["sh", "-c", OPEN, "sh", str(scratch), *closed, "--"]
    return subprocess.run(
        [
            *(["unshare", "--mount", "--propagation", "private", *opening] if closed else []),
            *argv,
        ],
        cwd=home,
        env={
            "HOME": str(home),
            "TMPDIR": str(home),
            "BOTTLE_STATE_DIR": str(home / "state"),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(pytest_bottle.__file__).parent.parent),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LANG": "C.UTF-8",
        },
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
