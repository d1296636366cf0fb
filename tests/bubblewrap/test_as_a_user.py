"""The tests of writing once more as those who are less than root, where root runs the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.ordinary_user import AS_USER
from tests.ordinary_user import UID
from tests.ordinary_user import run_within_reach

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.bottle_requires("bubblewrap"),
    pytest.mark.skipif(os.getuid() != 0, reason="the other tests are run by an ordinary user"),
]


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory of the user's own."""
    path = Path(tempfile.mkdtemp(prefix="bottle-writing-"))
    os.chown(path, UID, UID)
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("module", ["test_image.py", "test_host_programs.py", "test_branching.py"])
def test_an_ordinary_users_sandbox_writes(home: Path, module: str) -> None:
    path = Path(__file__).parent / module
    pytest_ = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rfEs", "--tb=short")
    done = run_within_reach(home, [*AS_USER, *pytest_, path], timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def test_a_root_that_may_not_mount_writes_as_a_user_does(tmp_path: Path) -> None:
    """As in a container: it has no idmapped mounts, and what it gives up root for has overlays."""
    module = Path(__file__).with_name("test_host_programs.py")
    alone = f"{module}::test_a_new_file_is_the_sandboxs_alone"
    pytest_ = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rfEs", "--tb=short")
    done = subprocess.run(
        ["setpriv", "--bounding-set=-sys_admin", *pytest_, f"--basetemp={tmp_path}/inner", alone],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
