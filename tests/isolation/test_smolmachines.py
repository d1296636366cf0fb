"""The wall of the smolmachines backend, tried from inside real microVMs."""

from __future__ import annotations

import os

import pytest

from pytest_bottle.testing import BottleIsolation

pytestmark = [pytest.mark.slow, pytest.mark.bottle_requires("smolvm")]

EMULATED = bool(os.environ.get("BOTTLE_SMOLVM_EMULATED"))
"""Whether the host's processor is software, on which all takes its time."""


class TestSmolmachines(BottleIsolation):
    backend = "smolmachines"
    own_kernel = True
    carried = True
    seccomp = False
    patience = 6.0 if EMULATED else 1.0
