"""A test behind a gate, without a bottle."""

from __future__ import annotations

import pytest


@pytest.mark.bottle_requires("pausing")
def test_gated():
    pass
