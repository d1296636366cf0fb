"""What the tests of real microVMs share: one machine for those that leave it as it was.

They need a host on which guests boot. Where it is emulated (`BOTTLE_SMOLVM_EMULATED`) nothing is
prompt, and each boot takes most of a minute.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.backends.smolmachines.backend import engine_with_state
from pytest_bottle.backends.smolmachines.engine import current_engine

if TYPE_CHECKING:
    from pytest_bottle.backends.smolmachines.smolvm import Smolvm
    from pytest_bottle.bottle import Bottle

HERE = Path(__file__).parent
EMULATED = bool(os.environ.get("BOTTLE_SMOLVM_EMULATED"))

PATIENCE = 120.0 if EMULATED else 20.0
"""Seconds for what takes a moment on a real processor."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gate all tests here."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.bottle_requires("smolvm"))
            item.add_marker(pytest.mark.xdist_group("smolvm"))


@pytest.fixture(scope="session")
def smolvm() -> Smolvm:
    """The engine that the backend uses."""
    return engine_with_state(current_engine())


@pytest.fixture(scope="session")
def reviewer(bottle_factory) -> Bottle:
    """A machine with the agent `reviewer`, for tests that leave it as it was."""
    bottle: Bottle = bottle_factory(agent="reviewer")
    return bottle
