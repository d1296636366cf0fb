"""What all tests share: the runs that they start are not led by the settings of this one."""

import os

import pytest

from pytest_bottle.options import OPTIONS


@pytest.fixture(autouse=True)
def _settings_of_their_own(monkeypatch):
    """Hide this run's settings: an inner run that is to skip must not be required to pass."""
    for option in OPTIONS:
        if option.variable in os.environ:
            monkeypatch.delenv(option.variable)
