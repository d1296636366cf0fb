"""Hosts on which no sandbox opens, made of user namespaces: the doctor says why, and what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.ordinary_user import UID
from tests.ordinary_user import run_within_reach

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.bottle_requires("bubblewrap"),
    pytest.mark.skipif(os.getuid() != 0, reason="only root may make these hosts everywhere"),
]

HOST = Path(__file__).with_name("forbidding_host.py")
DOCTOR = ("-m", "pytest_bottle", "doctor", "-p", "no:cacheprovider")


def answer(result: subprocess.CompletedProcess[str]) -> list[str]:
    """Return what the doctor said of bubblewrap: what it saw, and the fix."""
    lines = result.stdout.splitlines()
    found = [number for number, line in enumerate(lines) if "bubblewrap (" in line]
    assert found, result.stdout + result.stderr
    return lines[found[0] : found[0] + 2]


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory of the user's own."""
    path = Path(tempfile.mkdtemp(prefix="bottle-refusals-"))
    os.chown(path, UID, UID)
    yield path
    shutil.rmtree(path)


def test_a_root_without_other_users_is_told_so(tmp_path: Path) -> None:
    script = f'"$0" {" ".join(DOCTOR)}'
    result = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", script, sys.executable],
        env={**os.environ, "BOTTLE_STATE_DIR": str(tmp_path / "state")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    seen, fix = answer(result)
    assert seen.startswith("  no  bubblewrap (process sandbox): this is the root of a user names")
    assert "map more uids into the container" in fix


@pytest.mark.parametrize("uid", [UID, 0], ids=["ordinary-user", "root"])
@pytest.mark.parametrize(
    ("forbid", "words"),
    [
        ("limit", "/proc/sys/user/max_*_namespaces exceeded (ENOSPC)"),
        ("filter", "the kernel does not allow non-privileged user namespaces"),
    ],
    ids=["ENOSPC", "EPERM"],
)
def test_whoever_may_not_make_user_namespaces_is_told_so(
    home: Path, uid: int, forbid: str, words: str
) -> None:
    """In the kernel's two ways: none are left (`ENOSPC`), or they are denied (`EPERM`)."""
    if uid == 0:
        os.chown(home, 0, 0)
        home.chmod(0o711)  # Root's sandboxes run bwrap from there as somebody else.
    result = run_within_reach(home, [sys.executable, HOST, forbid, str(uid), *DOCTOR], timeout=60)
    seen, fix = answer(result)
    assert seen.startswith(
        "  no  bubblewrap (process sandbox): this kernel or container forbids user namespaces ("
    )
    assert words in seen
    for setting in (
        "kernel.unprivileged_userns_clone=1",
        "user.max_user_namespaces>0",
        "--security-opt seccomp=unconfined",
    ):
        assert setting in fix
