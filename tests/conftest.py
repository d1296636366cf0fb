"""What all tests share: the runs that they start are not led by the settings of this one."""

import contextlib
import os
import signal
from pathlib import Path

import pytest

from pytest_bottle.errors import CapabilityError
from pytest_bottle.gateway.egress.environment import ensure_environment
from pytest_bottle.options import OPTIONS

# A shell that starts the tests in its background has them ignore interrupts, and so would all runs
# that they start in order to interrupt them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

OF_THE_HOST = "BOTTLE_PROXY_PYTHON"
"""What inner runs need too: it says where a program of this host's is."""

TIMED = Path(__file__).parent / "death"


@pytest.fixture(autouse=True)
def _settings_of_their_own(monkeypatch):
    """Hide this run's settings: an inner run that is to skip must not be required to pass."""
    for option in OPTIONS:
        if option.variable in os.environ and option.variable != OF_THE_HOST:
            monkeypatch.delenv(option.variable)


@pytest.fixture(scope="session")
def _proxy_environment():
    """Make the proxy's environment before an inner run would, which has no time for that."""
    with contextlib.suppress(CapabilityError):  # The inner run tells of it.
        ensure_environment(print)


def pytest_collection_modifyitems(items):
    """Keep on one worker what measures how soon things end, so that it does not race with itself.

    It takes `--dist loadgroup`.
    """
    for item in items:
        if item.path.is_relative_to(TIMED):
            item.add_marker(pytest.mark.xdist_group("death"))
