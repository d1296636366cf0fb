"""The directory of a root file system: whole, or not at all."""

from __future__ import annotations

import io
import stat
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.errors import OptionError
from pytest_bottle.errors import UnsafePathError
from pytest_bottle.rootfs import write_rootfs
from tests.unit.test_unpack import archive
from tests.unit.test_unpack import directory
from tests.unit.test_unpack import file
from tests.unit.test_unpack import link

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD = archive(directory("etc"), file("etc/passwd", b"root"), link("bin", "usr/bin"))


def names(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir()}


def write(data: bytes, path: Path, advance: Callable[[int], None] = lambda _: None) -> None:
    write_rootfs(io.BytesIO(data), path, advance)


def test_it_is_there_for_all_to_read(tmp_path):
    write(GOOD, tmp_path / "root")
    assert (tmp_path / "root/etc/passwd").read_text() == "root"
    assert stat.S_IMODE((tmp_path / "root").stat().st_mode) == 0o755
    assert names(tmp_path) == {"root"}


def test_parents_are_made(tmp_path):
    write(GOOD, tmp_path / "new/root")
    assert (tmp_path / "new/root/bin").is_symlink()


def test_an_empty_directory_is_filled(tmp_path):
    (tmp_path / "root").mkdir()
    write(GOOD, tmp_path / "root")
    assert (tmp_path / "root/etc").is_dir()


def test_how_much_is_written_is_told(tmp_path):
    told: list[int] = []
    write(GOOD, tmp_path / "root", told.append)
    assert sum(told) == len("root")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: (path.mkdir(), (path / "mine").touch()), "is not empty"),
        (lambda path: path.touch(), "is no directory"),
        (lambda path: path.symlink_to("."), "is no directory"),
    ],
    ids=["full", "file", "link"],
)
def test_what_is_there_already_is_left_alone(tmp_path, make, words):
    make(tmp_path / "root")
    before = (tmp_path / "root").lstat()
    with pytest.raises(OptionError, match=words):
        write(GOOD, tmp_path / "root")
    assert (tmp_path / "root").lstat() == before
    assert names(tmp_path) == {"root"}


@pytest.mark.parametrize(
    "bad",
    [archive(file("good"), file("../planted")), archive(file("good", bytes(2000)))[:1024]],
    ids=["hostile", "cut"],
)
def test_after_a_failure_nothing_is_there(tmp_path, bad):
    with pytest.raises(UnsafePathError):
        write(bad, tmp_path / "root")
    assert names(tmp_path) == set()


def test_after_an_interrupt_nothing_is_there(tmp_path):
    def interrupt(_written: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(GOOD, tmp_path / "root", interrupt)
    assert names(tmp_path) == set()
