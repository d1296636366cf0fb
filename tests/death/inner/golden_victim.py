"""The other module: branches the golden bottle that it did not make, and waits to be killed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pausing import pause  # type: ignore[import-not-found]


@pytest.mark.bottle(golden=True)
def test_victim(bottle_factory):
    if Path("gone").exists():
        return  # xdist runs a test again that its worker died of.
    while not Path("launched").exists():
        time.sleep(0.01)
    bottle = bottle_factory(golden=True)
    assert bottle.plan.branch_of == Path("launched").read_text()
    branch = bottle.branch()
    branch.write_file("file", "x")
    pause("test")
