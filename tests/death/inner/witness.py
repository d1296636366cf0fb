"""A test that has a bottle while another worker is killed."""

from __future__ import annotations

import os
import time
from pathlib import Path


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def test_witness(request):
    wait_for(Path(os.environ["DEATH_MARKER"]))
    bottle = request.getfixturevalue("bottle")
    bottle.write_file("mine", "still here")
    Path("witness").write_text(bottle.name)
    wait_for(Path("gone"))
    assert bottle.sh("cat mine").stdout == "still here"
