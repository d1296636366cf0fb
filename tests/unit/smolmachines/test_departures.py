"""Machines that are told to go, by an engine that refuses to delete what has branches."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.backends.smolmachines.departures import Departures
from pytest_bottle.backends.smolmachines.smolvm import Smolvm
from pytest_bottle.errors import TeardownError

if TYPE_CHECKING:
    from pathlib import Path

ENGINE = """\
#!/bin/sh
# A machine is a file with the name of its source; its state is in `stopped`.
cd "$(dirname "$0")/machines"
while [ "$1" != --name ]; do
    [ "$1" != stop ] && [ "$1" != delete ] || verb=$1
    shift
done
name=$2
[ ! -e ../slow ] || sleep 5
case $verb in
    stop) echo "$name" >> ../stopped ;;
    delete)
        if grep -qx "$name" ./* 2>/dev/null; then
            message="machine '$name' has branches; delete them first, or pass --cascade"
            echo '{"error":{"code":"CONFIG_ERROR","message":"'"$message"'"}}' >&2
            exit 1
        fi
        rm -f "$name" ;;
esac
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    engine = tmp_path / "smolvm"
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    (tmp_path / "machines").mkdir()
    return tmp_path


@pytest.fixture
def smolvm(place: Path) -> Smolvm:
    return Smolvm(place / "smolvm")


@pytest.fixture
def departures():
    departures = Departures()
    yield departures
    departures.close()


def test_what_was_told_to_go_is_gone_once_settled(place, smolvm, departures):
    for name in ("one", "other", "kept"):
        (place / "machines" / name).touch()
    departures.add(smolvm, "one")
    departures.add(smolvm, "other")
    departures.settle(10)
    assert [path.name for path in (place / "machines").iterdir()] == ["kept"]


def test_what_was_told_to_go_is_known_until_it_is_gone(place, smolvm, departures):
    (place / "machines" / "one").touch()
    assert "one" not in departures
    departures.add(smolvm, "one")
    assert "one" in departures
    departures.settle(10)
    assert "one" not in departures


@pytest.mark.parametrize("order", [("source", "branch"), ("branch", "source")])
def test_a_source_goes_after_its_branches(place, smolvm, departures, order):
    (place / "machines" / "source").touch()
    (place / "machines" / "branch").write_text("source\n")
    for name in order:
        departures.add(smolvm, name)
    departures.settle(10)
    assert list((place / "machines").iterdir()) == []


@pytest.mark.parametrize("order", [*itertools.permutations(("source", "branch", "twig"))])
def test_a_branch_of_a_branch_goes_first(place, smolvm, departures, order):
    (place / "machines" / "source").touch()
    (place / "machines" / "branch").write_text("source\n")
    (place / "machines" / "twig").write_text("branch\n")
    for name in order:
        departures.add(smolvm, name)
    departures.settle(10)
    assert list((place / "machines").iterdir()) == []


def test_a_source_of_a_living_branch_is_stopped_and_told(place, smolvm, departures):
    (place / "machines" / "source").touch()
    (place / "machines" / "branch").write_text("source\n")
    departures.add(smolvm, "source")
    with pytest.raises(TeardownError, match=r"source .*branches"):
        departures.settle(0.5)
    assert (place / "stopped").read_text() == "source\n"
    assert (place / "machines" / "branch").exists()


def test_what_takes_too_long_is_named(place, smolvm, departures):
    (place / "slow").touch()
    (place / "machines" / "one").touch()
    departures.add(smolvm, "one")
    with pytest.raises(TeardownError, match=r"one \(the engine is still removing it\)"):
        departures.settle(0.2)
    (place / "slow").unlink()
    departures.settle(10)
    assert not (place / "machines" / "one").exists()
