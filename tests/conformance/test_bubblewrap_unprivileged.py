"""The bubblewrap backend as an ordinary user, where the tests themselves are run by root.

Both suites run once more in a pytest of that user.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from pytest_bottle.testing import BottleConformance
from pytest_bottle.testing import BottleIsolation
from tests.bubblewrap.conftest import eventually
from tests.ordinary_user import AS_USER
from tests.ordinary_user import UID
from tests.ordinary_user import run_within_reach

if TYPE_CHECKING:
    import subprocess

MODULE = """\
import pytest

from pytest_bottle.backends.bubblewrap import seccomp
from pytest_bottle.testing import BottleConformance
from pytest_bottle.testing import BottleIsolation

pytestmark = pytest.mark.bottle_requires("bubblewrap")


class TestConformance(BottleConformance):
    backend = "bubblewrap"


class TestIsolation(BottleIsolation):
    backend = "bubblewrap"
    seccomp = bool(seccomp.program())
    bounded_disk = True


def test_this_is_an_ordinary_user():
    import os

    assert os.getuid() == os.geteuid() == {uid}
    assert "CapEff:\\t0000000000000000" in open("/proc/self/status").read()
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.bottle_requires("bubblewrap"),
    pytest.mark.skipif(os.getuid() != 0, reason="the other tests are run by an ordinary user"),
]


@pytest.fixture
def home():
    """A directory of the user's own; pytest's temporary directories are closed to others."""
    path = Path(tempfile.mkdtemp(prefix="bottle-unprivileged-"))
    os.chown(path, UID, UID)
    yield path
    # The run's watchdog, which outlives it by a moment, is tidying up there as well.
    assert eventually(lambda: not removed(path).exists(), seconds=20)


def removed(path: Path) -> Path:
    """Remove a directory, as far as nobody else does; return it."""
    shutil.rmtree(path, ignore_errors=True)
    return path


def run_as_user(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest as the user; return what it said."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return run_within_reach(home, [*AS_USER, *command], timeout=380)


def test_an_ordinary_user_gets_the_same_bottle(home):
    """Each check of both suites runs, and passes."""
    (home / "test_unprivileged.py").write_text(MODULE.format(uid=UID))
    arguments = ["--junitxml=junit.xml", "-rfEs", "--tb=short", "--timeout=60"]
    done = run_as_user(home, "test_unprivileged.py", *arguments)
    said = done.stdout + done.stderr
    assert (home / "junit.xml").exists(), said
    suite = ET.parse(home / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    counts = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    if counts["skipped"] == counts["tests"]:
        pytest.skip(said)
    ran = {case.attrib["name"].partition("[")[0] for case in suite.iter("testcase")}
    checks = {
        name
        for suite in (BottleConformance, BottleIsolation)
        for name in dir(suite)
        if name.startswith("test_")
    }
    assert ran == checks | {"test_this_is_an_ordinary_user"}
    assert counts == {"tests": counts["tests"], "failures": 0, "errors": 0, "skipped": 0}, said
    assert done.returncode == 0, said
    assert f"{counts['tests']} passed" in done.stdout
