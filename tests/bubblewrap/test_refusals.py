"""Hosts on which no sandbox opens, made of user namespaces: the doctor says why, and what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.bottle_requires("bubblewrap"),
    pytest.mark.skipif(os.getuid() != 0, reason="only root may make these hosts everywhere"),
]

EXAMINE = '"$0" -m pytest_bottle doctor -p no:cacheprovider'


def examine(script: str, tmp_path: Path) -> list[str]:
    """Let the doctor look at a new user namespace, after a script has had its way with it."""
    result = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", script + EXAMINE, sys.executable],
        env={**os.environ, "BOTTLE_STATE_DIR": str(tmp_path / "state")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    lines = result.stdout.splitlines()
    found = next(number for number, line in enumerate(lines) if "bubblewrap (" in line)
    return lines[found : found + 2]


def test_a_root_without_other_users_is_told_so(tmp_path: Path) -> None:
    answer, fix = examine("", tmp_path)
    assert answer.startswith("  no  bubblewrap (process sandbox): this is the root of a user names")
    assert "map more uids into the container" in fix
