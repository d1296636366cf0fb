"""Checks of files written, read and listed through the handle."""
# ruff: noqa: S101, PLR2004 -- checks assert, on sizes and counts of their own

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_bottle.testing.conformance.subject import Subject

if TYPE_CHECKING:
    from pytest_bottle.bottle import Bottle

MIB = 1024 * 1024

AWKWARD_NAMES = {
    "spaces": " a name ",
    "newline": "two\nlines",
    "final-newline": "line\n",
    "leading-dash": "-rf",
    "glob": "*",
    "brackets": "[a]?",
    "single-quote": "it's",
    "double-quote": 'say "hi"',
    "dollar": "$HOME",
    "command": "`id`;true&",
    "backslash": "a\\nb",
    "percent": "%s%n",
    "unicode": "naïve-Ωmega-🚀",
    "not-utf8": "caf\udce9",
    "hidden": ".hidden",
    "two-dots": "..hidden",
    "longest": "x" * 255,
}


class FileChecks(Subject):
    """Files go in and come out as they are."""

    @pytest.mark.parametrize(
        "text",
        ["one\ntwo #three\n", "no final newline", "dos\r\nmac\rend\r\n", "☽ ✨ naïve 🚀\u200d", ""],
        ids=["lines", "unended", "carriage-returns", "unicode", "empty"],
    )
    def test_text_comes_back_as_it_was_written(
        self, subject: Bottle, place: str, text: str
    ) -> None:
        """Line ends are never translated."""
        subject.write_file(f"{place}/file", text)
        assert subject.read_file(f"{place}/file") == text

    @pytest.mark.parametrize(
        "data",
        [bytes(range(256)) * 3, b"\xc3\x28", b"\0", b""],
        ids=["every-byte", "invalid-utf8", "nul", "empty"],
    )
    def test_bytes_come_back_as_they_were_written(
        self, subject: Bottle, place: str, data: bytes
    ) -> None:
        """No byte is special."""
        subject.write_file(f"{place}/file", data)
        assert subject.read_file(f"{place}/file", text=False) == data

    def test_fifty_mebibytes_come_back(self, subject: Bottle, place: str) -> None:
        """A transport with a limit on its messages fails here."""
        data = bytes(range(256)) * (50 * MIB // 256)
        subject.write_file(f"{place}/file", data)
        assert subject.read_file(f"{place}/file", text=False) == data

    def test_a_file_of_the_guest_is_read(self, subject: Bottle, place: str) -> None:
        """What a command wrote is what the test reads."""
        subject.sh("printf 'from inside' > file; : > nothing", cwd=place).check()
        assert subject.read_file(f"{place}/file") == "from inside"
        assert subject.read_file(f"{place}/nothing") == ""

    def test_a_written_file_is_read_by_the_guest(self, subject: Bottle, place: str) -> None:
        """What the test wrote is what a command reads."""
        subject.write_file(f"{place}/file", "from outside")
        assert subject.exec(["cat", f"{place}/file"]).stdout == "from outside"

    def test_a_written_file_belongs_to_the_guest_user(self, subject: Bottle, place: str) -> None:
        """The agent must be able to change it."""
        subject.write_file(f"{place}/made/file", "mine")
        assert subject.sh("test -O made && test -O made/file", cwd=place).success

    def test_a_shorter_text_replaces_a_longer_one(self, subject: Bottle, place: str) -> None:
        """Nothing of the old content remains."""
        subject.write_file(f"{place}/file", "a long text")
        subject.write_file(f"{place}/file", "short")
        assert subject.read_file(f"{place}/file") == "short"

    def test_missing_parents_are_made(self, subject: Bottle, place: str) -> None:
        """Also several, also for an absolute path."""
        subject.write_file(f"{place}/a/b c/d/file", "deep")
        assert subject.read_file(f"{place}/a/b c/d/file") == "deep"

    def test_a_relative_path_is_below_the_workdir(self, subject: Bottle, place: str) -> None:
        """For reading and for writing."""
        name = place.rpartition("/")[2]
        subject.write_file(f"{name}/new/file", "relative")
        assert subject.exec(["cat", f"{subject.workdir}/{name}/new/file"]).stdout == "relative"
        assert subject.read_file(f"{name}/new/file") == "relative"

    def test_the_home_takes_files(self, subject: Bottle) -> None:
        """The agent's configuration goes there."""
        subject.write_file(f"{subject.home}/.conformance/file", "at home")
        assert subject.sh('cat "$HOME/.conformance/file"').stdout == "at home"

    @pytest.mark.parametrize(
        ("mode", "shown"),
        [(0o600, "-rw-------"), (0o750, "-rwxr-x---"), (None, "-rw-r--r--")],
        ids=["private", "executable", "default"],
    )
    def test_a_mode_is_set(self, subject: Bottle, place: str, mode: int | None, shown: str) -> None:
        """Without one it is what umask 022 gives."""
        subject.write_file(f"{place}/file", "x", mode=mode)
        assert subject.exec(["ls", "-l", f"{place}/file"]).stdout.startswith(shown)

    def test_a_script_that_was_written_runs(self, subject: Bottle, place: str) -> None:
        """With the mode that makes it executable."""
        subject.write_file(f"{place}/script", '#!/bin/sh\necho "ran $1"\n', mode=0o755)
        assert subject.exec([f"{place}/script", "well"]).stdout == "ran well\n"

    @pytest.mark.parametrize("name", AWKWARD_NAMES.values(), ids=AWKWARD_NAMES.keys())
    def test_an_awkward_name_is_just_a_name(self, subject: Bottle, place: str, name: str) -> None:
        """No shell and no tool reads anything into it."""
        subject.write_file(f"{place}/bystander", "untouched")
        subject.write_file(f"{place}/{name}", "found")
        assert subject.read_file(f"{place}/{name}") == "found"
        assert subject.exec(["cat", "--", f"{place}/{name}"]).stdout == "found"
        assert subject.exists(f"{place}/{name}")
        assert subject.listdir(place) == sorted([name, "bystander"])
        assert subject.read_file(f"{place}/bystander") == "untouched"

    @pytest.mark.parametrize("name", ["-rf", "*", "it's"], ids=["dash", "glob", "quote"])
    def test_an_awkward_relative_name_is_just_a_name(self, subject: Bottle, name: str) -> None:
        """Also where it begins the path."""
        subject.write_file(f"{name}/file", "found")
        assert subject.read_file(f"{name}/file") == "found"
        assert subject.listdir(name) == ["file"]
        subject.exec(["rm", "-r", "--", name]).check()

    def test_a_link_is_followed(self, subject: Bottle, place: str) -> None:
        """In reading and in writing."""
        subject.sh("echo before > file; ln -s file link", cwd=place).check()
        subject.write_file(f"{place}/link", "after")
        assert subject.read_file(f"{place}/link") == "after"
        assert subject.read_file(f"{place}/file") == "after"

    def test_exists_tells_what_is_there(self, subject: Bottle, place: str) -> None:
        """A file, a directory, a link that leads nowhere; nothing else."""
        subject.sh("touch file; mkdir directory; ln -s nowhere link", cwd=place).check()
        names = ["file", "directory", "link", "nowhere", "file/below"]
        assert [subject.exists(f"{place}/{name}") for name in names] == [True] * 3 + [False] * 2

    def test_a_directory_is_listed_sorted_and_whole(self, subject: Bottle, place: str) -> None:
        """With hidden names and links that lead nowhere, without `.` and `..`."""
        subject.sh("touch b a .c ..d; mkdir e; ln -s nowhere f", cwd=place).check()
        assert subject.listdir(place) == ["..d", ".c", "a", "b", "e", "f"]

    def test_an_empty_directory_lists_nothing(self, subject: Bottle, place: str) -> None:
        """Not even a pattern that matched nothing."""
        assert subject.listdir(place) == []

    def test_the_workdir_is_listed_by_default(self, subject: Bottle, place: str) -> None:
        """`listdir()` is about the directory that commands run in."""
        assert place.rpartition("/")[2] in subject.listdir()

    def test_a_thousand_names_are_listed(self, subject: Bottle, place: str) -> None:
        """More than fit in one block of output."""
        subject.sh("i=0; while [ $i -lt 1000 ]; do : > f$i; i=$((i+1)); done", cwd=place).check()
        assert len(subject.listdir(place)) == 1000
