"""Many tests with a bottle each."""

from __future__ import annotations

import os

import pytest


@pytest.mark.parametrize("number", range(int(os.environ["DEATH_TESTS"])))
def test_bottle(bottle, number):
    bottle.write_file("number", str(number))
    assert bottle.sh("cat number").stdout == str(number)
