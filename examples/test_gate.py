"""Gate tests on what the host can do.

A gate is found out by trying it, once per run: a daemon that answers, a namespace that opens. Where
it is missing the test is skipped, and the reason says what was probed and how to get it. In CI
`--bottle-require=docker` (or `BOTTLE_REQUIRE=docker`) turns such a skip into a failure, so that a
suite cannot pass by skipping everything.
"""

import pytest


@pytest.mark.bottle_requires("linux")
def test_linux_has_control_groups(bottle):
    assert bottle.exists("/proc/self/cgroup")


@pytest.mark.bottle_requires("docker")
def test_an_engine_is_at_hand(bottle_factory):
    """The gate has tried the engine already; what follows can rely on it."""
    assert callable(bottle_factory)


@pytest.mark.bottle_requires("darwin")
def test_the_keychain_is_out_of_reach(bottle):
    assert not bottle.exists("/Users")
