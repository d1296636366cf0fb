"""Nothing gets out of a docker bottle."""

from __future__ import annotations

import pytest

from pytest_bottle.testing import BottleIsolation


@pytest.mark.bottle_requires("docker")
class TestDocker(BottleIsolation):
    backend = "docker"
