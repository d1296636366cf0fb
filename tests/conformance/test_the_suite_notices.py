"""A backend that breaks a promise fails the checks of that promise."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import pytest_bottle

MODULE = Path(__file__).with_name("broken_backends.py")
BREAKAGES = runpy.run_path(str(MODULE))["BREAKAGES"]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Run each breakage's checks, in one pytest; return the outcomes by class and check."""
    directory = tmp_path_factory.mktemp("broken")
    report = directory / "junit.xml"
    checks = [
        f"{MODULE}::Test_{name}::{check}"
        for name, breakage in BREAKAGES.items()
        for check in breakage.checks
    ]
    paths = [MODULE.parent, Path(pytest_bottle.__file__).parent.parent]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", MODULE.stem, f"--junitxml={report}", "-q"),
            *("-p", "no:cacheprovider", "-p", "no:randomly", "--tb=no", *checks),
        ],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    found: dict[str, dict[str, str]] = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        name = case.attrib["classname"].rpartition("Test_")[2]
        outcome = next((child.tag for child in case if child.tag != "properties"), "passed")
        found.setdefault(name, {})[case.attrib["name"]] = outcome
    return found


@pytest.mark.timeout(540)
@pytest.mark.parametrize("name", BREAKAGES)
def test_a_broken_promise_is_noticed(outcomes, name):
    """Every check that is named for it fails, in all its variants, and not by an accident."""
    wanted = {check.partition("[")[0] for check in BREAKAGES[name].checks}
    assert {check.partition("[")[0] for check in outcomes[name]} == wanted
    assert [check for check, outcome in outcomes[name].items() if outcome != "failure"] == []
