"""The smolmachines backend passes the conformance suite, in real microVMs."""

from __future__ import annotations

import os

import pytest

from pytest_bottle.testing import BottleConformance

pytestmark = [pytest.mark.slow, pytest.mark.bottle_requires("smolvm")]

EMULATED = bool(os.environ.get("BOTTLE_SMOLVM_EMULATED"))
"""Whether the host's processor is software, on which nothing is prompt."""


class TestSmolmachines(BottleConformance):
    backend = "smolmachines"
    other_users = True
    permissions_apply = False
    carried = True
    branches_processes = True
    promptness = 40.0 if EMULATED else 1.0
    patience = 6.0 if EMULATED else 1.0
    large_input = (8 if EMULATED else 50) * 2**20
