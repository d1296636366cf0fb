"""Nothing gets out through the door of a bubblewrap sandbox."""

from __future__ import annotations

import pytest

from pytest_bottle.testing import BottleEscape


@pytest.mark.bottle_requires("bubblewrap", "git", "proxy")
class TestBubblewrap(BottleEscape):
    backend = "bubblewrap"
