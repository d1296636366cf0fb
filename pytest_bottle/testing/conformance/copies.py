"""Checks of files and directories copied between host and guest."""
# ruff: noqa: S101 -- checks assert

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.errors import OutputLimitError
from pytest_bottle.errors import UnsafePathError
from pytest_bottle.testing.conformance.files import AWKWARD_NAMES
from pytest_bottle.testing.conformance.subject import Subject

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_bottle.bottle import Bottle


def described(root: Path) -> dict[str, str]:
    """Return every path below a directory with its kind, permissions and content."""
    found = {}
    for path in sorted(root.rglob("*")):
        mode = f"{path.lstat().st_mode & 0o777:o}"
        if path.is_symlink():
            text = f"link {path.readlink()}"
        elif path.is_dir():
            text = f"directory {mode}"
        else:
            text = f"file {mode} {path.read_bytes()!r}"
        found[str(path.relative_to(root))] = text
    return found


class CopyChecks(Subject):
    """Trees keep their content, their permissions and their links on both ways."""

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        """Make a directory with all that may be copied."""
        root = tmp_path / "tree"
        (root / "a dir" / "deep").mkdir(parents=True)
        (root / "empty").mkdir()
        (root / "plain").write_text("plain\r\n")
        (root / "plain").chmod(0o640)
        (root / "script").write_text("#!/bin/sh\necho ran\n")
        (root / "script").chmod(0o755)
        (root / ".hidden").write_bytes(bytes(range(256)))
        (root / "a dir" / "deep" / "naïve 🚀").write_text("unicode")
        (root / "link").symlink_to("a dir/deep")
        (root / "a dir" / "up").symlink_to("../plain")
        return root

    def test_a_tree_comes_back_as_it_went_in(
        self, subject: Bottle, place: str, tree: Path, tmp_path: Path
    ) -> None:
        """Content, permissions, links, empty directories."""
        subject.copy_in(tree, f"{place}/tree")
        out = subject.copy_out(f"{place}/tree", tmp_path / "out")
        assert out == tmp_path / "out"
        assert described(out) == described(tree)

    def test_a_tree_is_right_in_the_guest(self, subject: Bottle, place: str, tree: Path) -> None:
        """As the guest's own tools see it."""
        subject.copy_in(tree, f"{place}/new/parents/tree")
        below = f"{place}/new/parents/tree"
        assert subject.exec([f"{below}/script"]).stdout == "ran\n"
        assert subject.exec(["readlink", f"{below}/link"]).stdout == "a dir/deep\n"
        assert subject.read_file(f"{below}/link/naïve 🚀") == "unicode"
        assert subject.listdir(f"{below}/empty") == []
        assert subject.exec(["ls", "-l", f"{below}/plain"]).stdout.startswith("-rw-r-----")
        assert subject.sh(f"test -O {below} && test -O {below}/plain").success

    def test_a_file_gets_the_name_that_is_given(
        self, subject: Bottle, place: str, tree: Path
    ) -> None:
        """By either name of the method; a path that ends in a slash is a directory."""
        subject.copy_in(tree / "plain", f"{place}/renamed")
        subject.cp_in(str(tree / "plain"), f"{place}/into/")
        assert subject.read_file(f"{place}/renamed") == "plain\r\n"
        assert subject.read_file(f"{place}/into/plain") == "plain\r\n"

    def test_a_copy_in_replaces_files_and_keeps_others(
        self, subject: Bottle, place: str, tree: Path
    ) -> None:
        """A directory is merged into the one that is there."""
        subject.write_file(f"{place}/tree/plain", "old and longer than the new one")
        subject.write_file(f"{place}/tree/own", "kept")
        subject.copy_in(tree, f"{place}/tree")
        assert subject.read_file(f"{place}/tree/plain") == "plain\r\n"
        assert subject.read_file(f"{place}/tree/own") == "kept"

    def test_a_copy_in_leaves_the_directory_above_alone(
        self, subject: Bottle, place: str, tree: Path
    ) -> None:
        """Its permissions are the guest's own affair."""
        subject.sh("mkdir private && chmod 700 private", cwd=place).check()
        subject.copy_in(tree / "plain", f"{place}/private/plain")
        assert subject.exec(["ls", "-ld", f"{place}/private"]).stdout.startswith("drwx------")

    def test_nothing_there_to_copy_in(self, subject: Bottle, place: str, tmp_path: Path) -> None:
        """FileNotFoundError."""
        with pytest.raises(FileNotFoundError):
            subject.copy_in(tmp_path / "missing", f"{place}/file")
        assert subject.listdir(place) == []

    def test_a_link_out_of_a_tree_is_not_copied_in(
        self, subject: Bottle, place: str, tree: Path
    ) -> None:
        """UnsafePathError: what it means here is not what it means there."""
        (tree / "out").symlink_to("/etc/passwd")
        with pytest.raises(UnsafePathError, match="out"):
            subject.copy_in(tree, f"{place}/tree")
        assert not subject.exists(f"{place}/tree")

    def test_copying_in_without_permission(self, subject: Bottle, place: str, tree: Path) -> None:
        """PermissionError, where permissions bind the guest's user."""
        subject.sh("mkdir locked && chmod 555 locked", cwd=place).check()
        if not self.permissions_apply:
            subject.copy_in(tree, f"{place}/locked/tree")
            assert subject.listdir(f"{place}/locked") == ["tree"]
            return
        with pytest.raises(PermissionError):
            subject.copy_in(tree, f"{place}/locked/tree")

    def test_a_file_comes_out(self, subject: Bottle, place: str, tmp_path: Path) -> None:
        """Under the name that is given, in a directory that is made, or in one that exists."""
        subject.write_file(f"{place}/file", b"\0bytes\r\n", mode=0o755)
        named = subject.copy_out(f"{place}/file", tmp_path / "new" / "name")
        within = subject.copy_out(f"{place}/file", tmp_path)
        assert (named, within) == (tmp_path / "new" / "name", tmp_path / "file")
        assert named.read_bytes() == within.read_bytes() == b"\0bytes\r\n"
        assert os.access(named, os.X_OK)

    def test_an_awkward_name_comes_out(self, subject: Bottle, place: str, tmp_path: Path) -> None:
        """No tool reads anything into it."""
        for number, name in enumerate(AWKWARD_NAMES.values()):
            subject.write_file(f"{place}/{name}", name.encode(errors="surrogateescape"))
            out = subject.copy_out(f"{place}/{name}", tmp_path / str(number))
            assert os.fsdecode(out.read_bytes()) == name

    def test_an_awkward_directory_goes_in_and_comes_out(
        self, subject: Bottle, place: str, tree: Path, tmp_path: Path
    ) -> None:
        """Also where it is the directory above."""
        for number, name in enumerate(AWKWARD_NAMES.values()):
            subject.copy_in(tree / "a dir" / "deep", f"{place}/{name}/{name}")
            out = subject.copy_out(f"{place}/{name}/{name}", tmp_path / str(number))
            assert (out / "naïve 🚀").read_text() == "unicode"

    def test_nothing_there_to_copy_out(self, subject: Bottle, place: str, tmp_path: Path) -> None:
        """FileNotFoundError, and nothing appears."""
        with pytest.raises(FileNotFoundError):
            subject.copy_out(f"{place}/missing", tmp_path / "new" / "out")
        assert list(tmp_path.iterdir()) == []

    def test_copying_out_without_permission(
        self, subject: Bottle, place: str, tmp_path: Path
    ) -> None:
        """PermissionError, where permissions bind the guest's user; nothing appears."""
        subject.sh("mkdir d && echo x > d/file && chmod 0 d/file", cwd=place).check()
        for path in (f"{place}/d/file", f"{place}/d"):
            if not self.permissions_apply:
                assert subject.copy_out(path, tmp_path / path.rpartition("/")[2]).exists()
                continue
            with pytest.raises(PermissionError):
                subject.copy_out(path, tmp_path / "out")
            assert list(tmp_path.iterdir()) == []

    def test_a_destination_that_exists_is_kept(
        self, subject: Bottle, place: str, tmp_path: Path
    ) -> None:
        """FileExistsError, for a link that leads nowhere too."""
        subject.write_file(f"{place}/file", "new")
        (tmp_path / "file").write_text("old")
        (tmp_path / "link").symlink_to(tmp_path / "target")
        for name in ("file", "link"):
            with pytest.raises(FileExistsError):
                subject.copy_out(f"{place}/file", tmp_path / name)
        assert (tmp_path / "file").read_text() == "old"
        assert not (tmp_path / "target").exists()

    def test_too_much_to_copy_out(self, subject: Bottle, place: str, tmp_path: Path) -> None:
        """OutputLimitError, and nothing appears."""
        subject.sh("mkdir d && head -c 300000 /dev/zero > d/file", cwd=place).check()
        with pytest.raises(OutputLimitError):
            subject.copy_out(f"{place}/d", tmp_path / "out", limit=100_000)
        assert list(tmp_path.iterdir()) == []
