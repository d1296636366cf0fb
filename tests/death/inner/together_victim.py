"""One of two modules for two workers: launches what both share, and waits to be killed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest


@pytest.mark.bottle(scope="run")
def test_victim(bottle, bottle_factory):
    if Path("killed").exists():
        return  # xdist runs a test again that its worker died of.
    own = bottle_factory()
    bottle.write_file("from-victim", own.name)
    Path("launched").touch()
    while not Path("shared").exists():
        time.sleep(0.01)
    marker = Path(os.environ["DEATH_MARKER"])
    marker.with_suffix(".draft").write_text(str(os.getpid()))
    marker.with_suffix(".draft").rename(marker)
    own.sh("sleep 100")
