from __future__ import annotations

import pytest

from pytest_bottle.testing import FakeBackend


@pytest.hookimpl
def pytest_bottle_backends():
    return [FakeBackend()]
