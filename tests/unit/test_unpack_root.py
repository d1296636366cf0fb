"""Whole root file systems: links may lead anywhere, and special files are left out."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from pytest_bottle.errors import UnsafePathError
from pytest_bottle.unpack import unpack_root
from tests.unit.test_unpack import archive
from tests.unit.test_unpack import directory
from tests.unit.test_unpack import file
from tests.unit.test_unpack import hard_link
from tests.unit.test_unpack import link
from tests.unit.test_unpack import member
from tests.unit.test_unpack import tree


@pytest.fixture
def inside(tmp_path):
    path = tmp_path / "inside"
    path.mkdir()
    return path


@pytest.fixture
def canary(tmp_path):
    """A file of the host."""
    path = tmp_path / "canary"
    path.write_text("host")
    return path


@pytest.fixture
def take_root(inside):
    return lambda *entries: unpack_root(
        io.BytesIO(archive(*entries)), inside, advance=lambda _: None
    )


def test_links_mean_what_they_mean_where_it_is_the_root(inside, take_root):
    take_root(link("bin", "usr/bin"), link("etc/mtab", "/proc/mounts"), file("usr/bin/sh"))
    assert (inside / "bin").readlink() == Path("usr/bin")
    assert (inside / "etc/mtab").readlink() == Path("/proc/mounts")


def test_no_file_is_written_through_a_link(take_root, canary):
    with pytest.raises(UnsafePathError):
        take_root(link("out", str(canary.parent)), file("out/canary"))
    assert canary.read_text() == "host"


def test_a_name_that_leaves_is_refused(take_root, canary):
    with pytest.raises(UnsafePathError, match="leaves the directory"):
        take_root(file("../canary"))
    assert canary.read_text() == "host"


def test_no_hard_link_to_a_file_of_the_host_is_made(inside, take_root, canary):
    for target in ("../canary", str(canary)):
        with pytest.raises(UnsafePathError):
            take_root(hard_link("mine", target))
    assert tree(inside) == set()


def test_no_hard_link_is_made_through_a_link(take_root, canary):
    with pytest.raises(UnsafePathError):
        take_root(link("out", str(canary.parent)), hard_link("mine", "out/canary"))
    assert canary.stat().st_nlink == 1


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_pipes_are_left_out_with_their_hard_links(inside, take_root, kind):
    take_root(member("dev/x", kind), hard_link("dev/y", "dev/x"), file("etc/z"))
    assert tree(inside) == {"etc", "etc/z"}


def test_a_hard_link_to_a_link_is_a_link(inside, take_root):
    take_root(link("a", "/target"), hard_link("b", "a"))
    assert (inside / "b").readlink() == Path("/target")


def test_nothing_is_set_uid_or_for_others_to_write(inside, take_root):
    take_root(directory("tmp", mode=0o1777), file("su", mode=0o6777))
    assert stat.S_IMODE((inside / "tmp").stat().st_mode) == 0o755
    assert stat.S_IMODE((inside / "su").stat().st_mode) == 0o755


def test_all_belongs_to_whoever_unpacks_it(inside, take_root):
    take_root(directory("home", uid=1000), file("home/x", uid=1000, gid=1000))
    assert {path.stat().st_uid for path in inside.rglob("*")} == {os.geteuid()}
