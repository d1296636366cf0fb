"""Files of a guest, through the `sh`, `cat` and `tar` of this host."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from pytest_bottle.backends.base import FILE_LIMIT
from pytest_bottle.backends.base import ExecResult
from pytest_bottle.errors import OutputLimitError
from pytest_bottle.errors import UnsafePathError
from pytest_bottle.guest_files import TREE_LIMIT
from pytest_bottle.guest_files import GuestFiles

AWKWARD = ["-n", "a b", "$(id)", "'\"", "*", "new\nline", "back\\nslash", "ünï", "{a,b}", "--", "~"]


def execute(argv: tuple[str, ...], data: bytes | None, limit: int) -> ExecResult:
    """Run a command of the handle on this host."""
    done = subprocess.run(
        argv,
        input=data or b"",
        capture_output=True,
        check=False,
        timeout=20,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
    )
    if len(done.stdout) > limit:
        raise OutputLimitError("stdout", limit=limit, remedy="")
    return ExecResult(
        argv=argv,
        returncode=done.returncode,
        stdout_bytes=done.stdout,
        stderr_bytes=done.stderr,
        duration=0,
    )


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """The guest's working directory."""
    path = tmp_path / "guest"
    path.mkdir()
    return path


@pytest.fixture
def host(tmp_path: Path) -> Path:
    path = tmp_path / "host"
    path.mkdir()
    return path


@pytest.fixture
def files(guest: Path) -> GuestFiles:
    return GuestFiles(execute, str(guest))


class TestPaths:
    def test_relative_paths_are_below_the_workdir(self):
        files = GuestFiles(execute, "/workspace")
        assert files.absolute("a/b") == "/workspace/a/b"
        assert files.absolute("/etc/passwd") == "/etc/passwd"

    @pytest.mark.parametrize("path", ["", "a\0b"])
    def test_what_is_no_path_is_refused(self, files, path):
        with pytest.raises(ValueError, match="not a path"):
            files.read(path, limit=FILE_LIMIT)


class TestReadAndWrite:
    @pytest.mark.parametrize("name", AWKWARD)
    def test_what_was_written_is_read_whatever_the_name(self, files, guest, name):
        data = bytes(range(256))
        files.write(f"{name}/{name}", data, mode=None)
        assert (guest / name / name).read_bytes() == data
        assert files.read(f"{name}/{name}", limit=FILE_LIMIT) == data
        assert files.names(name) == [name]
        assert files.exists(f"{name}/{name}")

    def test_a_mode_is_set_on_new_and_old_files(self, files, guest):
        for mode in (0o600, 0o755):
            files.write("file", b"x", mode=mode)
            assert stat.S_IMODE((guest / "file").stat().st_mode) == mode

    def test_without_a_mode_an_old_file_keeps_its_own(self, files, guest):
        files.write("file", b"long before", mode=0o700)
        files.write("file", b"x", mode=None)
        assert stat.S_IMODE((guest / "file").stat().st_mode) == 0o700
        assert (guest / "file").read_bytes() == b"x"

    def test_a_file_that_is_missing(self, files):
        with pytest.raises(FileNotFoundError, match="missing"):
            files.read("missing", limit=FILE_LIMIT)

    def test_a_directory_in_the_place_of_a_file(self, files, guest):
        for path in (".", f"{guest}/"):
            with pytest.raises(IsADirectoryError):
                files.read(path, limit=FILE_LIMIT)
            with pytest.raises(IsADirectoryError):
                files.write(path, b"", mode=None)

    def test_a_name_that_ends_in_a_slash_is_no_file(self, files, guest):
        with pytest.raises(IsADirectoryError):
            files.write("new/", b"x", mode=None)
        assert not (guest / "new").is_file()

    def test_a_file_in_the_place_of_a_directory(self, files, guest):
        (guest / "file").touch()
        for path in ("file/a", "file/a/b"):
            with pytest.raises(NotADirectoryError):
                files.write(path, b"", mode=None)

    def test_limits_are_exact(self, files):
        files.write("file", b"x" * 100, mode=None)
        assert len(files.read("file", limit=100)) == 100
        with pytest.raises(OutputLimitError, match="file is larger than its limit of 99 bytes"):
            files.read("file", limit=99)

    def test_too_much_to_write_is_refused_before_it_is_sent(self, guest):
        def never(*_: object) -> ExecResult:
            raise AssertionError

        files = GuestFiles(never, str(guest))
        with pytest.raises(OutputLimitError, match="Write it in parts"):
            files.write("file", bytes(FILE_LIMIT + 1), mode=None)

    def test_the_guests_own_words_are_in_other_errors(self, files):
        """Whatever refuses: here the kernel, a file of /proc."""
        with pytest.raises(OSError, match="/proc/self/environ"):
            files.write("/proc/self/environ", b"x", mode=None)


class TestListing:
    def test_hidden_names_links_and_directories_are_listed_in_order(self, files, guest):
        for name in (".hidden", "..odd", "b", "a"):
            (guest / name).touch()
        (guest / "broken").symlink_to("nowhere")
        (guest / "directory").mkdir()
        assert files.names(".") == ["..odd", ".hidden", "a", "b", "broken", "directory"]

    def test_names_that_are_not_utf8_can_be_used_again(self, files, guest):
        Path(os.fsdecode(bytes(guest) + b"/\xff")).write_bytes(b"odd")
        (name,) = files.names(".")
        assert files.read(name, limit=FILE_LIMIT) == b"odd"

    def test_an_empty_directory_has_no_names(self, files):
        assert files.names(".") == []

    def test_what_cannot_be_listed(self, files, guest):
        (guest / "file").touch()
        with pytest.raises(NotADirectoryError):
            files.names("file")
        with pytest.raises(FileNotFoundError):
            files.names("missing")

    def test_a_broken_link_exists(self, files, guest):
        (guest / "link").symlink_to("nowhere")
        assert files.exists("link")
        assert not files.exists("nowhere")


class TestPut:
    def test_a_file_gets_the_name_that_is_given(self, files, guest, host):
        (host / "file").write_bytes(b"x\0")
        (host / "file").chmod(0o750)
        files.put(host / "file", "new/name")
        files.put(host / "file", "into/")
        assert (guest / "new/name").read_bytes() == (guest / "into/file").read_bytes() == b"x\0"
        assert stat.S_IMODE((guest / "new/name").stat().st_mode) == 0o750

    def test_a_directory_is_merged_into_one_that_exists(self, files, guest, host):
        (host / "a").write_text("new")
        (host / "link").symlink_to("a")
        (guest / "d").mkdir(mode=0o700)
        (guest / "d/a").write_text("old")
        (guest / "d/b").write_text("kept")
        files.put(host, "d")
        assert (guest / "d/link").read_text() == "new"
        assert (guest / "d/b").read_text() == "kept"
        assert stat.S_IMODE((guest / "d").stat().st_mode) == 0o700

    def test_a_directory_can_be_put_in_the_workdir_itself(self, files, host):
        (host / "a").write_text("x")
        files.put(host, ".")
        assert files.names(".") == ["a"]

    def test_an_empty_directory_is_put(self, files, guest, host):
        files.put(host, "empty")
        assert (guest / "empty").is_dir()

    def test_a_directory_that_a_link_leads_to_is_filled(self, files, guest, host):
        (host / "a").write_text("x")
        (guest / "real").mkdir()
        (guest / "link").symlink_to("real")
        files.put(host, "link")
        assert (guest / "real/a").read_text() == "x"

    def test_a_linked_source_keeps_the_links_name(self, files, guest, host):
        (host / "real").write_text("x")
        (host / "link").symlink_to("real")
        files.put(host / "link", "into/")
        assert files.names("into") == ["link"]
        assert not (guest / "into/link").is_symlink()

    @pytest.mark.parametrize("name", AWKWARD)
    def test_any_name_can_be_put(self, files, guest, host, name):
        (host / "file").write_text("x")
        files.put(host, f"tree/{name}")
        files.put(host / "file", f"files/{name}")
        assert (guest / "tree" / name / "file").read_text() == "x"
        assert (guest / "files" / name).read_text() == "x"

    def test_a_file_does_not_replace_a_directory_nor_the_reverse(self, files, guest, host):
        (host / "file").write_text("x")
        (guest / "directory").mkdir()
        (guest / "file").write_text("kept")
        with pytest.raises(IsADirectoryError):
            files.put(host / "file", "directory")
        with pytest.raises(NotADirectoryError):
            files.put(host, "file")
        assert (guest / "file").read_text() == "kept"

    def test_no_source(self, files, host):
        with pytest.raises(FileNotFoundError, match="missing"):
            files.put(host / "missing", "x")


class TestTake:
    def test_a_file_comes_out_under_a_new_name_or_into_a_directory(self, files, guest, host):
        (guest / "file").write_bytes(b"x")
        assert files.take("file", host, limit=TREE_LIMIT) == host / "file"
        named = files.take("file", host / "new" / "name", limit=TREE_LIMIT)
        assert named == host / "new" / "name"
        assert named.read_bytes() == (host / "file").read_bytes() == b"x"

    @pytest.mark.parametrize("name", AWKWARD)
    def test_any_name_comes_out(self, files, guest, host, name):
        (guest / name).mkdir()
        (guest / name / name).write_text("x")
        assert (files.take(name, host, limit=TREE_LIMIT) / name).read_text() == "x"
        assert files.take(f"{name}/{name}", host / "named", limit=TREE_LIMIT).read_text() == "x"

    def test_the_limit_is_on_content_alone(self, files, guest, host):
        (guest / "file").write_bytes(b"x" * 100)
        assert files.take("file", host / "out", limit=100).stat().st_size == 100
        with pytest.raises(OutputLimitError, match="99 bytes"):
            files.take("file", host / "more", limit=99)
        assert files.names(str(host)) == ["out"]

    def test_what_is_missing(self, files, host):
        with pytest.raises(FileNotFoundError):
            files.take("missing", host / "out", limit=TREE_LIMIT)
        assert list(host.iterdir()) == []

    def test_what_is_in_the_way_is_kept(self, files, guest, host):
        (guest / "file").write_text("new")
        (host / "link").symlink_to("nowhere")
        with pytest.raises(FileExistsError):
            files.take("file", host / "link", limit=TREE_LIMIT)
        assert not (host / "nowhere").exists()

    def test_the_root_is_not_taken(self, files, host):
        with pytest.raises(UnsafePathError, match="whole guest"):
            files.take("/", host, limit=TREE_LIMIT)

    def test_a_refused_tree_leaves_nothing(self, files, guest, host):
        """A link to what lies beside it means something else on the host."""
        (guest / "tree").mkdir()
        (guest / "tree" / "good").touch()
        (guest / "tree" / "link").symlink_to("../sibling")
        with pytest.raises(UnsafePathError):
            files.take("tree", host / "out", limit=TREE_LIMIT)
        assert list(host.iterdir()) == []


@pytest.mark.skipif(shutil.which("busybox") is None, reason="there is no busybox on PATH")
def test_a_guest_with_nothing_but_busybox_will_do(tmp_path, guest, host):
    """Its sh, cat, mkdir, chmod and tar are the tools of many images."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "cat", "mkdir", "chmod", "tar"):
        (tools / name).symlink_to(shutil.which("busybox") or "")

    def execute_in_busybox(argv: tuple[str, ...], data: bytes | None, limit: int) -> ExecResult:
        assert argv[0] == "/bin/sh"
        line = f"PATH={tools}; exec {tools}/sh {shlex.join(argv[1:])}"
        return execute(("/bin/sh", "-c", line), data, limit)

    files = GuestFiles(execute_in_busybox, str(guest))
    (host / "tree" / "empty").mkdir(parents=True)
    (host / "tree" / "back\\nslash").write_text("x")
    files.put(host / "tree", "tree")
    files.write("tree/file", b"y", mode=0o600)
    out = files.take("tree", host / "out", limit=TREE_LIMIT)
    assert sorted(path.name for path in out.iterdir()) == ["back\\nslash", "empty", "file"]
    assert files.names("tree") == sorted(path.name for path in out.iterdir())
    assert files.read("tree/file", limit=FILE_LIMIT) == b"y"
    assert stat.S_IMODE((out / "file").stat().st_mode) == 0o600
