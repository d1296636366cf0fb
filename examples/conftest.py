"""What the examples share: the example plugin, and patience with hosts that lack something."""

import os
import sys
from pathlib import Path

import pytest

from pytest_bottle.errors import CapabilityError
from pytest_bottle.errors import ImageError

# In place of `pip install ./plugin`, whose entry point would load it.
sys.path.insert(0, str(Path(__file__).parent / "plugin"))
pytest_plugins = ["bottle_extras"]

# Tests for the agents to run, one of which fails.
collect_ignore = ["behaviour/project"]


def skip_where_nothing_can_be_fetched(item):
    """Skip where an image cannot be pulled, or the proxy not be installed: in a train, say."""
    try:
        return (yield)
    except (CapabilityError, ImageError) as problem:
        required = item.config.option.bottle_require or [os.environ.get("BOTTLE_REQUIRE", "")]
        needed = "docker" if isinstance(problem, ImageError) else "proxy"
        if needed in " ".join(required):
            raise
        pytest.skip(str(problem))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    return (yield from skip_where_nothing_can_be_fetched(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    return (yield from skip_where_nothing_can_be_fetched(item))
