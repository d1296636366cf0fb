"""On a backend without a wall the attempts succeed, and the suite says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import pytest_bottle

MODULE = """\
from pytest_bottle.testing import BottleIsolation
from pytest_bottle.testing import FakeBackend


class TestNoWall(BottleIsolation):
    backend = "fake"
"""

PLUGIN = """\
from pytest_bottle.testing import FakeBackend


def pytest_bottle_backends():
    return [FakeBackend()]
"""

HARMLESS = [
    "test_a_file_of_the_host_is_not_found",
    "test_the_hosts_environment_is_not_found",
    "test_a_process_of_the_host_is_not_seen",
    "test_a_process_of_the_host_cannot_be_signalled",
    "test_a_process_of_the_host_cannot_be_looked_into",
    "test_the_hosts_abstract_sockets_are_not_seen",
    "test_the_guest_has_its_own_process_numbers",
    "test_the_hosts_ports_are_out_of_reach",
    "test_datagrams_do_not_arrive",
    "test_other_bottles_are_out_of_reach",
    "test_the_door_leads_to_no_other_port",
    "test_the_door_is_all_that_listens",
    "test_a_door_is_no_other_bottles",
    "test_the_way_of_the_hand_over_is_closed",
    "test_new_files_do_not_appear_on_the_host",
    "test_files_of_the_host_are_neither_changed_nor_removed",
    "test_no_program_gives_new_privileges",
    "test_a_filter_of_system_calls_is_active_where_promised",
]
"""Attempts that do no harm where they succeed."""

OF_ROOT = ["test_a_command_has_no_capability", "test_becoming_another_user_is_refused"]
"""Those that only root's own processes succeed in."""


@pytest.mark.timeout(120)
def test_every_harmless_attempt_succeeds_without_a_wall(tmp_path):
    attempts = HARMLESS + (OF_ROOT if os.geteuid() == 0 else [])
    (tmp_path / "conftest.py").write_text(PLUGIN)
    (tmp_path / "test_no_wall.py").write_text(MODULE)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--junitxml=junit.xml", "-q", "--tb=short"),
            *("-p", "no:cacheprovider", "-p", "no:randomly"),
            *(f"test_no_wall.py::TestNoWall::{attempt}" for attempt in attempts),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(pytest_bottle.__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert (tmp_path / "junit.xml").exists(), done.stdout + done.stderr
    outcomes = {
        case.attrib["name"]: [child.tag for child in case if child.tag != "properties"]
        for case in ET.parse(tmp_path / "junit.xml").getroot().iter("testcase")
    }
    assert {name.partition("[")[0] for name in outcomes} == set(attempts)
    assert [name for name, tags in outcomes.items() if tags != ["failure"]] == [], done.stdout
