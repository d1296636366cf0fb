"""What the examples share: the example plugin, and patience with hosts that lack an image."""

import os
import sys
from pathlib import Path

import pytest

from pytest_bottle.errors import ImageError

# In place of `pip install ./plugin`, whose entry point would load it.
sys.path.insert(0, str(Path(__file__).parent / "plugin"))
pytest_plugins = ["bottle_extras"]


def skip_without_image(item):
    """Skip where an engine answers but has no image and cannot pull one: in a train, say."""
    try:
        return (yield)
    except ImageError as problem:
        required = item.config.option.bottle_require or [os.environ.get("BOTTLE_REQUIRE", "")]
        if "docker" in " ".join(required):
            raise
        pytest.skip(str(problem))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    return (yield from skip_without_image(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    return (yield from skip_without_image(item))
