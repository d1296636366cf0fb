"""Checks of what cannot be read or written, and of the errors that say so."""
# ruff: noqa: S101, PLR2004 -- checks assert, on sizes of their own

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.backends.base import FILE_LIMIT
from pytest_bottle.errors import OutputLimitError
from pytest_bottle.testing.conformance.subject import Subject

if TYPE_CHECKING:
    from pytest_bottle.bottle import Bottle


class FileErrorChecks(Subject):
    """Errors are those of `open`, and name the path."""

    @pytest.mark.parametrize(
        "name", ["missing", "no/such/directory/file", "https:/example.com/a%20b?c=d#e"]
    )
    def test_reading_what_is_not_there(self, subject: Bottle, name: str) -> None:
        """FileNotFoundError, with the name."""
        with pytest.raises(FileNotFoundError, match=r"(?i)no such file") as caught:
            subject.read_file(name)
        assert name in str(caught.value)

    def test_reading_a_link_that_leads_nowhere(self, subject: Bottle, place: str) -> None:
        """FileNotFoundError."""
        subject.sh("ln -s nowhere link", cwd=place).check()
        with pytest.raises(FileNotFoundError):
            subject.read_file(f"{place}/link")

    def test_reading_a_directory(self, subject: Bottle, place: str) -> None:
        """IsADirectoryError."""
        with pytest.raises(IsADirectoryError, match=r"(?i)directory"):
            subject.read_file(place)

    def test_reading_without_permission(self, subject: Bottle, place: str) -> None:
        """PermissionError, where permissions bind the guest's user."""
        subject.write_file(f"{place}/file", "hidden", mode=0)
        if not self.permissions_apply:
            assert subject.read_file(f"{place}/file") == "hidden"
            return
        with pytest.raises(PermissionError):
            subject.read_file(f"{place}/file")

    def test_reading_bytes_as_text(self, subject: Bottle, place: str) -> None:
        """UnicodeDecodeError: nothing is replaced in silence."""
        subject.write_file(f"{place}/file", b"\xc3\x28")
        with pytest.raises(UnicodeDecodeError):
            subject.read_file(f"{place}/file")

    def test_reading_up_to_the_limit(self, subject: Bottle, place: str) -> None:
        """A file of exactly the limit is read; one byte more is an error that says so."""
        subject.write_file(f"{place}/file", b"x" * 2048)
        assert len(subject.read_file(f"{place}/file", text=False, limit=2048)) == 2048
        with pytest.raises(OutputLimitError, match="2047 bytes"):
            subject.read_file(f"{place}/file", text=False, limit=2047)

    def test_reading_a_file_without_end(self, subject: Bottle) -> None:
        """The limit holds for what is read, whatever size a file claims."""
        start = time.monotonic()
        with pytest.raises(OutputLimitError):
            subject.read_file("/dev/zero", text=False, limit=1024 * 1024)
        assert time.monotonic() - start < 10

    def test_writing_over_a_directory(self, subject: Bottle, place: str) -> None:
        """IsADirectoryError, and the directory stays."""
        with pytest.raises(IsADirectoryError, match=r"(?i)directory"):
            subject.write_file(place, "x")
        assert subject.listdir(place) == []

    def test_writing_below_a_file(self, subject: Bottle, place: str) -> None:
        """NotADirectoryError, also further below; the file stays."""
        subject.write_file(f"{place}/file", "kept")
        for path in ("below", "far/below"):
            with pytest.raises(NotADirectoryError):
                subject.write_file(f"{place}/file/{path}", "x")
        assert subject.read_file(f"{place}/file") == "kept"

    def test_writing_a_file_without_permission(self, subject: Bottle, place: str) -> None:
        """PermissionError and the old content, where permissions bind the guest's user."""
        subject.write_file(f"{place}/file", "kept", mode=0o444)
        if not self.permissions_apply:
            subject.write_file(f"{place}/file", "changed")
            assert subject.read_file(f"{place}/file") == "changed"
            return
        with pytest.raises(PermissionError):
            subject.write_file(f"{place}/file", "changed")
        assert subject.read_file(f"{place}/file") == "kept"

    def test_writing_in_a_directory_without_permission(self, subject: Bottle, place: str) -> None:
        """PermissionError, for a new file and for a new directory."""
        subject.sh("mkdir locked && chmod 555 locked", cwd=place).check()
        for name in ("file", "new/file"):
            path = f"{place}/locked/{name}"
            if not self.permissions_apply:
                subject.write_file(path, "allowed")
                assert subject.read_file(path) == "allowed"
                continue
            with pytest.raises(PermissionError):
                subject.write_file(path, "refused")
        assert bool(subject.listdir(f"{place}/locked")) is not self.permissions_apply

    def test_writing_more_than_the_limit(self, subject: Bottle, place: str) -> None:
        """OutputLimitError, before anything is sent."""
        with pytest.raises(OutputLimitError):
            subject.write_file(f"{place}/file", bytes(FILE_LIMIT + 1))
        assert not subject.exists(f"{place}/file")

    def test_listing_what_is_not_there(self, subject: Bottle, place: str) -> None:
        """FileNotFoundError."""
        with pytest.raises(FileNotFoundError):
            subject.listdir(f"{place}/missing")

    def test_listing_a_file(self, subject: Bottle, place: str) -> None:
        """NotADirectoryError."""
        subject.write_file(f"{place}/file", "x")
        with pytest.raises(NotADirectoryError):
            subject.listdir(f"{place}/file")

    def test_listing_without_permission(self, subject: Bottle, place: str) -> None:
        """PermissionError, where permissions bind the guest's user."""
        subject.sh("mkdir locked && touch locked/file && chmod 0 locked", cwd=place).check()
        if not self.permissions_apply:
            assert subject.listdir(f"{place}/locked") == ["file"]
            return
        with pytest.raises(PermissionError):
            subject.listdir(f"{place}/locked")
        subject.sh("chmod 755 locked", cwd=place).check()
