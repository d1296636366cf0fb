"""The docker backend, on the engine that the tests find."""

from __future__ import annotations

import pytest

from pytest_bottle.testing import BottleConformance


@pytest.mark.bottle_requires("docker")
class TestDocker(BottleConformance):
    backend = "docker"
    other_users = True
