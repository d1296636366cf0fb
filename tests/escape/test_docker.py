"""Nothing gets out through the door of a docker bottle."""

from __future__ import annotations

import pytest

from pytest_bottle.testing import BottleEscape


@pytest.mark.bottle_requires("docker", "git", "proxy")
class TestDocker(BottleEscape):
    backend = "docker"
