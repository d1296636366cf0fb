"""Nothing gets out of a bubblewrap sandbox."""

from __future__ import annotations

import pytest

from pytest_bottle.backends.bubblewrap import seccomp
from pytest_bottle.testing import BottleIsolation


@pytest.mark.bottle_requires("bubblewrap")
class TestBubblewrap(BottleIsolation):
    backend = "bubblewrap"
    seccomp = bool(seccomp.program())
    bounded_disk = True
