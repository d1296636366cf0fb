"""What changed between two archives of a directory, as paths and as text."""

from __future__ import annotations

import subprocess
import tarfile
import time
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.changes import TEXT_LIMIT
from pytest_bottle.changes import Change
from pytest_bottle.changes import Diff
from pytest_bottle.changes import snapshot
from pytest_bottle.errors import OutputLimitError
from pytest_bottle.errors import UnsafePathError

if TYPE_CHECKING:
    from pathlib import Path


def packed(root: Path) -> bytes:
    """Return a directory as the guest's tar sends it."""
    made = subprocess.run(["tar", "-cf", "-", "-C", root, "."], stdout=subprocess.PIPE, check=True)
    return made.stdout


def archive(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    data = b"".join(
        info.tobuf() + content + bytes(-len(content) % tarfile.BLOCKSIZE)
        for info, content in entries
    )
    return data + bytes(2 * tarfile.BLOCKSIZE)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


class Changed:
    """Takes a difference around a block of changes to a directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._before = snapshot(packed(root))

    def diff(self) -> Diff:
        return Diff(self._before, snapshot(packed(self._root)))


class TestKinds:
    def test_no_change_is_an_empty_difference(self, root):
        (root / "file").write_text("same")
        changed = Changed(root)
        (root / "file").touch()
        diff = changed.diff()
        assert not diff
        assert list(diff) == []
        assert diff.text == ""

    def test_added_modified_and_deleted_ordered_by_path(self, root):
        for name in ("b", "c"):
            (root / name).write_text("old")
        changed = Changed(root)
        (root / "a").write_text("new")
        (root / "b").write_text("new")
        (root / "c").unlink()
        diff = changed.diff()
        assert diff.changes == (
            Change("a", "added"),
            Change("b", "modified"),
            Change("c", "deleted"),
        )
        assert (diff.added, diff.modified, diff.deleted) == (("a",), ("b",), ("c",))
        assert len(diff) == 3

    def test_permissions_are_a_change(self, root):
        (root / "script").write_text("x")
        (root / "script").chmod(0o644)
        changed = Changed(root)
        (root / "script").chmod(0o755)
        assert changed.diff().modified == ("script",)

    def test_another_type_is_a_change(self, root):
        (root / "name").write_text("x")
        changed = Changed(root)
        (root / "name").unlink()
        (root / "name").symlink_to("x")
        assert changed.diff().modified == ("name",)

    def test_another_target_of_a_link_is_a_change(self, root):
        (root / "link").symlink_to("one")
        changed = Changed(root)
        (root / "link").unlink()
        (root / "link").symlink_to("two")
        assert changed.diff().modified == ("link",)

    def test_a_directory_counts_only_while_it_is_empty(self, root):
        (root / "full").mkdir()
        (root / "full" / "file").touch()
        (root / "empty" / "below").mkdir(parents=True)
        assert set(snapshot(packed(root))) == {"full/file", "empty/below/"}

    def test_a_directory_that_gets_a_file_is_that_file(self, root):
        (root / "d").mkdir()
        changed = Changed(root)
        (root / "d" / "file").touch()
        diff = changed.diff()
        assert (diff.added, diff.deleted) == (("d/file",), ("d/",))

    def test_a_hard_link_is_its_files_content(self, root):
        """Which of the two names is the link, tar alone decides."""
        (root / "a").write_text("same")
        (root / "b").write_text("same")
        changed = Changed(root)
        (root / "b").unlink()
        (root / "b").hardlink_to(root / "a")
        assert not changed.diff()
        (root / "a").write_text("changed")
        assert changed.diff().modified == ("a", "b")

    def test_a_pipe_is_told(self, root):
        changed = Changed(root)
        subprocess.run(["mkfifo", root / "pipe"], check=True)
        assert changed.diff().added == ("pipe",)

    def test_an_empty_baseline_has_no_files(self, root):
        (root / "file").touch()
        assert snapshot(b"") == {}
        assert Diff(snapshot(b""), snapshot(packed(root))).added == ("file",)


class TestText:
    def test_text_is_a_unified_diff(self, root):
        (root / "file").write_text("one\ntwo\nthree\n")
        changed = Changed(root)
        (root / "file").write_text("one\n2\nthree\n")
        assert changed.diff().text == (
            "--- a/file\n+++ b/file\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n"
        )

    def test_new_and_gone_files_are_compared_with_nothing(self, root):
        (root / "gone").write_text("x\n")
        changed = Changed(root)
        (root / "gone").unlink()
        (root / "new").write_text("y\n")
        assert changed.diff().text == (
            "--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
            "--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+y\n"
        )

    def test_a_missing_line_end_is_told(self, root):
        (root / "file").write_text("x\n")
        changed = Changed(root)
        (root / "file").write_text("x")
        assert "-x\n+x\n\\ No newline at end of file\n" in changed.diff().text

    @pytest.mark.parametrize("odd", ["\x0c", "\x0b", "\x85", "\u2028", "\r"])
    def test_only_a_line_feed_ends_a_line(self, root, odd):
        """As patch(1) reads it."""
        changed = Changed(root)
        (root / "file").write_bytes(f"a{odd}b\n".encode())
        assert f"+a{odd}b\n" in changed.diff().text
        assert "No newline" not in changed.diff().text

    def test_what_is_not_text_has_a_line(self, root):
        (root / "changed").write_bytes(b"\xff")
        changed = Changed(root)
        (root / "changed").write_bytes(b"\xfe")
        (root / "nul").write_bytes(b"a\0b")
        (root / "large").write_bytes(b"x" * (TEXT_LIMIT + 1))
        (root / "empty").touch()
        assert changed.diff().text == (
            "modified: changed\nadded: empty\nadded: large\nadded: nul\n"
        )

    def test_permissions_alone_have_a_line(self, root):
        (root / "script").write_text("x\n")
        (root / "script").chmod(0o644)
        changed = Changed(root)
        (root / "script").chmod(0o755)
        assert changed.diff().text == "modified: script\n"

    def test_a_large_change_is_told_soon(self, root):
        """Lines that repeat just often enough make the comparison of long files explode."""
        lines = [f"{number % 120}\n" for number in range(TEXT_LIMIT // 4)]
        (root / "file").write_text("".join(lines))
        changed = Changed(root)
        (root / "file").write_text("".join(reversed(lines)))
        start = time.monotonic()
        assert "file" in changed.diff().text
        assert time.monotonic() - start < 5


class TestHostileArchives:
    def test_no_archive_is_refused(self):
        with pytest.raises(UnsafePathError, match="no tar archive"):
            snapshot(b"no archive\n" * 1000)

    def test_names_that_leave_the_root_are_refused(self):
        info = tarfile.TarInfo("../planted")
        with pytest.raises(UnsafePathError):
            snapshot(archive((info, b"")))

    def test_half_a_file_is_refused(self):
        info = tarfile.TarInfo("file")
        info.size = 5000
        with pytest.raises(UnsafePathError):
            snapshot(archive((info, b"x" * 5000))[:3000])

    def test_a_claimed_size_is_refused_before_it_is_read(self):
        info = tarfile.TarInfo("file")
        info.size = 1024**4
        with pytest.raises(OutputLimitError):
            snapshot(archive((info, b"")))

    def test_a_hard_link_to_what_is_not_there_is_told(self):
        info = tarfile.TarInfo("file")
        info.type = tarfile.LNKTYPE
        info.linkname = "/etc/passwd"
        diff = Diff({}, snapshot(archive((info, b""))))
        assert diff.text == "added: file\n"

    def test_many_deep_directories_are_cheap(self):
        """Each is looked at by itself, not together with all above it."""
        entries = []
        for number in range(2000):
            info = tarfile.TarInfo(f"{number}/" + "d/" * 190)
            info.type = tarfile.DIRTYPE
            entries.append((info, b""))
        start = time.monotonic()
        assert len(snapshot(archive(*entries))) == 2000
        assert time.monotonic() - start < 5
