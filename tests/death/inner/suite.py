"""Four tests with a bottle each; the first to come stops in the middle, where that is asked for."""

from __future__ import annotations

import threading

import pytest
from pausing import pause  # type: ignore[import-not-found]


@pytest.mark.parametrize("number", range(4))
def test_bottle(bottle, number):
    threading.Thread(target=bottle.sh, args=("sleep 1000",), daemon=True).start()
    bottle.write_file("number", str(number))
    pause("test")
    assert bottle.read_file("number") == str(number)
