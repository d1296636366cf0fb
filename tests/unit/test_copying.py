"""A tree is copied as it is, and what was there before goes."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_bottle.backends.copying import DEEPEST
from pytest_bottle.backends.copying import copy_tree

if TYPE_CHECKING:
    from pathlib import Path

AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")


@pytest.fixture
def trees(tmp_path):
    """Two empty directories."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    return source, target


def copy(source: Path, target: Path, **keywords: Any) -> None:
    descriptors = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (source, target)]
    try:
        copy_tree(*descriptors, **keywords)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def test_files_keep_their_content_mode_and_times(trees):
    source, target = trees
    (source / "below").mkdir(mode=0o750)
    (source / "below/file").write_bytes(b"a\0b" * 1_000_000)
    (source / "below/file").chmod(0o4751)
    os.utime(source / "below/file", ns=(1_000_000_000, 2_000_000_001))
    os.utime(source / "below", ns=(3_000_000_000, 4_000_000_001))
    copy(source, target)
    assert (target / "below/file").read_bytes() == b"a\0b" * 1_000_000
    for name in ("below", "below/file"):
        one, other = (source / name).stat(), (target / name).stat()
        assert (one.st_mode, one.st_mtime_ns) == (other.st_mode, other.st_mtime_ns)


def test_several_names_of_a_file_stay_names_of_one(trees):
    source, target = trees
    (source / "a").mkdir()
    (source / "a/file").write_text("x")
    (source / "file").hardlink_to(source / "a/file")
    copy(source, target)
    assert (target / "file").samefile(target / "a/file")
    assert not (target / "file").samefile(source / "file")


def test_links_are_not_followed(trees, tmp_path):
    source, target = trees
    (tmp_path / "outside").write_text("outside")
    (source / "link").symlink_to(tmp_path / "outside")
    (source / "directory").symlink_to(tmp_path)
    (target / "link").write_text("x")
    copy(source, target)
    assert (target / "link").readlink() == tmp_path / "outside"
    assert (target / "directory").readlink() == tmp_path
    assert (tmp_path / "outside").read_text() == "outside"


def test_holes_stay_holes(trees):
    source, target = trees
    with (source / "file").open("wb") as file:
        file.seek(50_000_000)
        file.write(b"data")
        file.truncate(200_000_000)
    copy(source, target)
    copied = (target / "file").stat()
    assert copied.st_size == 200_000_000
    assert copied.st_blocks * 512 < 1_000_000
    with (target / "file").open("rb") as file:
        file.seek(50_000_000)
        assert file.read(6) == b"data\0\0"


def test_special_files_are_copied_as_such(trees):
    source, target = trees
    os.mkfifo(source / "fifo", 0o640)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source / "socket"))
        copy(source, target)
    assert stat.S_ISFIFO((target / "fifo").stat().st_mode)
    assert stat.S_IMODE((target / "fifo").stat().st_mode) == 0o640
    assert stat.S_ISSOCK((target / "socket").stat().st_mode)


def test_an_overlays_marks_are_copied(trees):
    """Deletions, and directories that hide what is below them."""
    source, target = trees
    os.mknod(source / "deleted", stat.S_IFCHR, os.makedev(0, 0))
    (source / "opaque").mkdir()
    os.setxattr(source / "opaque", "user.overlay.opaque", b"y")
    copy(source, target)
    deleted = (target / "deleted").stat()
    assert stat.S_ISCHR(deleted.st_mode)
    assert deleted.st_rdev == 0
    assert os.getxattr(target / "opaque", "user.overlay.opaque") == b"y"


def test_what_its_owner_may_not_read_is_copied(trees):
    source, target = trees
    (source / "closed").mkdir()
    (source / "closed/file").write_text("x")
    for path in (source / "closed/file", source / "closed"):
        path.chmod(0)
    copy(source, target)
    for tree in trees:
        assert stat.S_IMODE((tree / "closed").stat().st_mode) == 0
        (tree / "closed").chmod(0o700)
    assert (target / "closed/file").stat().st_size == 1


def test_what_the_source_does_not_have_goes(trees):
    source, target = trees
    (source / "file").write_text("new")
    (source / "was-file").mkdir()
    for directory in ("gone/below", "file"):
        (target / directory).mkdir(parents=True)
        (target / directory / "file").write_text("old")
    (target / "was-file").write_text("old")
    copy(source, target)
    assert sorted(path.name for path in target.rglob("*")) == ["file", "was-file"]
    assert (target / "file").read_text() == "new"


def test_what_is_spared_stays(trees):
    source, target = trees
    for tree in trees:
        (tree / "etc").mkdir()
        (tree / "etc/hostname").write_text(tree.name)
        (tree / "etc/other").write_text(tree.name)
    copy(source, target, spared=("etc/hostname",))
    assert (target / "etc/hostname").read_text() == "target"
    assert (target / "etc/other").read_text() == "source"


@AS_ROOT
def test_files_of_one_become_anothers(trees):
    source, target = trees
    for name, owner in (("ours", 1000), ("theirs", 1001)):
        (source / name).touch()
        os.chown(source / name, owner, owner)
    copy(source, target, owners={(1000, 1000): (2000, 2000)})
    assert [(target / name).stat().st_uid for name in ("ours", "theirs")] == [2000, 1001]


def test_a_tree_that_is_too_deep_is_refused(trees):
    source, target = trees
    (source / "/".join(["d"] * (DEEPEST + 5))).mkdir(parents=True)
    with pytest.raises(OSError, match=f"more than {DEEPEST} directories below each other"):
        copy(source, target)
