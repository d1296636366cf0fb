"""Nothing gets out through the door of a real microVM."""

from __future__ import annotations

import os

import pytest

from pytest_bottle.testing import BottleEscape

EMULATED = bool(os.environ.get("BOTTLE_SMOLVM_EMULATED"))
"""Whether the host's processor is software, on which all takes its time."""


@pytest.mark.slow
@pytest.mark.bottle_requires("smolvm", "git", "proxy")
class TestSmolmachines(BottleEscape):
    backend = "smolmachines"
    carried = True
    patience = 6.0 if EMULATED else 1.0
    image = os.environ.get("BOTTLE_SMOLVM_DOOR_IMAGE")
