"""The fake backend keeps every promise that needs no isolation."""

from __future__ import annotations

import os

from pytest_bottle.testing import BottleConformance


class TestFake(BottleConformance):
    backend = "fake"
    private_files = False
    private_processes = False
    own_network = False
    permissions_apply = os.geteuid() != 0
