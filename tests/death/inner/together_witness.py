"""The other module: uses what both share, before and after the other's worker was killed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest


@pytest.mark.bottle(scope="run")
def test_witness(bottle_factory, request):
    while not Path("launched").exists():
        time.sleep(0.01)
    shared = request.getfixturevalue("bottle")
    own = bottle_factory()
    own.write_file("mine", "still here")
    assert shared.exists("from-victim")
    Path("shared").touch()
    while not Path("gone").exists():
        time.sleep(0.01)
    assert shared.exists("from-victim")
    assert own.read_file("mine") == "still here"
