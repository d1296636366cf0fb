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


def test_the_hosts_home_stays_outside(bottle):
    bottle.write_file(f"{bottle.home}/mine.txt", "x")

    assert not (Path.home() / "mine.txt").exists()
    assert bottle.sh("ls -A ~").stdout.split() == [".claude-bottle-prompt.txt", "mine.txt"]


def test_writes_end_with_the_bottle(bottle_factory):
    with bottle_factory() as bottle:
        bottle.write_file("/tmp/left-behind.txt", "x")

    assert not Path("/tmp/left-behind.txt").exists()


@pytest.mark.bottle(pids=32)
def test_a_fork_bomb_is_contained(bottle):
    with pytest.raises(TimeoutError):
        bottle.sh("bomb() { bomb | bomb & }; bomb; sleep 60", timeout=2)

    assert bottle.sh("echo still here").stdout == "still here\n"
