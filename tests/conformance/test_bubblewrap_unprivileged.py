"""The bubblewrap backend as an ordinary user, where the tests themselves are run by root.

Both suites run once more in a pytest of that user, who may not even be able to read the Python that
runs the tests. For that, a mount namespace of its own opens the directories on the way there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import pytest_bottle
from pytest_bottle.testing import BottleConformance
from pytest_bottle.testing import BottleIsolation

UID = 12345
"""Of nobody, so without groups, a home or permissions of its own."""

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
    shutil.rmtree(path)


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


def run_as_user(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest as the user; return what it said."""
    closed = closed_directories()
    scratch = home / "layers"
    scratch.mkdir()
    opening = ["sh", "-c", OPEN, "sh", str(scratch), *closed, "--"]
    return subprocess.run(
        [
            *(["unshare", "--mount", "--propagation", "private", *opening] if closed else []),
            *("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"),
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments),
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
        timeout=380,
        check=False,
    )


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
