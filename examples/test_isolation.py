"""See what a bottle keeps out.

Nothing of the host's home, environment, processes or network is in a bottle, and nothing that is
written in it reaches the host. How strong the wall is depends on the backend: see "Isolation and
its limits" in the documentation.
"""

from pathlib import Path

import pytest


def test_the_hosts_environment_stays_outside(bottle, monkeypatch):
    monkeypatch.setenv("API_TOKEN", "do-not-leak")

    assert "do-not-leak" not in bottle.exec(["env"]).stdout


def test_the_hosts_files_stay_outside(bottle, tmp_path):
    (tmp_path / "letter.txt").write_text("Dear diary")

    assert not bottle.exists(str(tmp_path / "letter.txt"))
    assert not bottle.exists(str(Path(__file__)))


def test_writes_end_with_the_bottle(bottle_factory):
    with bottle_factory() as bottle:
        bottle.write_file("/tmp/left-behind.txt", "x")

    assert not Path("/tmp/left-behind.txt").exists()


@pytest.mark.bottle(pids=32)
def test_processes_cannot_multiply(bottle):
    result = bottle.sh("for n in $(seq 100); do sleep 60 & done; wait")

    assert not result.success
    assert "fork" in result.stderr
