"""What all tests share: the runs that they start are not led by the settings of this one."""

import os
import signal
from pathlib import Path

import pytest

from pytest_bottle.options import OPTIONS

# A shell that starts the tests in its background has them ignore interrupts, and so would all runs
# that they start in order to interrupt them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

TIMED = Path(__file__).parent / "death"


@pytest.fixture(autouse=True)
def _settings_of_their_own(monkeypatch):
    """Hide this run's settings: an inner run that is to skip must not be required to pass."""
    for option in OPTIONS:
        if option.variable in os.environ:
            monkeypatch.delenv(option.variable)


def pytest_collection_modifyitems(items):
    """Keep on one worker what measures how soon things end, so that it does not race with itself.

    It takes `--dist loadgroup`.
    """
    for item in items:
        if item.path.is_relative_to(TIMED):
            item.add_marker(pytest.mark.xdist_group("death"))
