"""The bubblewrap backend, as the user that runs the tests."""

from __future__ import annotations

import pytest

from pytest_bottle.testing import BottleConformance


@pytest.mark.bottle_requires("bubblewrap")
class TestBubblewrap(BottleConformance):
    backend = "bubblewrap"
