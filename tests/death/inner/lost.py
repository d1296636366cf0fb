"""A test that waits for its bottle to be killed, and one that must not suffer for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def test_lost(bottle):
    Path(os.environ["DEATH_MARKER"]).touch()
    bottle.sh("sleep 100")


def test_next(bottle):
    assert bottle.sh("echo fine").stdout == "fine\n"


@pytest.mark.bottle(scope="run")
def test_shared_lost(bottle):
    bottle.write_file("seen", "before")
    Path(os.environ["DEATH_MARKER"]).touch()
    bottle.sh("sleep 100")


@pytest.mark.bottle(scope="run")
def test_shared_next(bottle):
    assert not bottle.exists("seen")
