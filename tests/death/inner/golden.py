"""Three tests with a bottle each, from one golden one, and a branch of it.

The first to come stops in the middle, where that is asked for.
"""

from __future__ import annotations

import threading

import pytest
from pausing import pause  # type: ignore[import-not-found]


@pytest.mark.bottle(golden=True)
@pytest.mark.parametrize("number", range(3))
def test_bottle(bottle, number):
    bottle.write_file("number", str(number))
    branch = bottle.branch()
    threading.Thread(target=branch.sh, args=("sleep 1000",), daemon=True).start()
    pause("test")
    assert branch.read_file("number") == str(number)
