"""One of two modules for two workers: makes the golden bottle, and needs it again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest


@pytest.mark.bottle(golden=True)
def test_witness(bottle, bottle_factory):
    Path("launched").write_text(bottle.plan.branch_of)
    while not Path("gone").exists():
        time.sleep(0.01)
    another = bottle_factory(golden=True)
    assert another.plan.branch_of == bottle.plan.branch_of
    assert bottle.exec(["true"]).success
