"""Checks of a guest that means harm: nothing that it answers has an effect outside."""
# ruff: noqa: S101 -- checks assert

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_bottle import process
from pytest_bottle.errors import OutputLimitError
from pytest_bottle.errors import UnsafePathError
from pytest_bottle.testing.conformance.archives import CONTENT
from pytest_bottle.testing.conformance.archives import hostile_archives
from pytest_bottle.testing.conformance.archives import odd_archive
from pytest_bottle.testing.conformance.copies import described
from pytest_bottle.testing.conformance.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

    from pytest_bottle.bottle import Bottle

ARCHIVE_NAMES = [name for name, _ in hostile_archives(Path("/outside/canary"))]

SECRET = "what the host knows"  # noqa: S105 -- a text to look for
PATIENCE = 10
"""Seconds for an answer that must not be worked on for ever."""


class Impostor:
    """A bottle whose `tar` is the guest's own, and answers with what it was given."""

    def __init__(self, bottle: Bottle, directory: str) -> None:
        """Replace it. `directory` is the first one of the guest's PATH."""
        self.bottle = bottle
        self._archive = f"{directory}/archive"
        program = f'#!/bin/sh\nexec cat "{self._archive}"\n'
        bottle.write_file(f"{directory}/tar", program, mode=0o755)
        bottle.sh("mkdir -p loot && touch loot/file").check()

    def answers(self, archive: bytes) -> Bottle:
        """Choose the answer."""
        self.bottle.write_file(self._archive, archive)
        return self.bottle


class HostileGuestChecks(Subject):
    """The host's files can be neither read nor written through a guest."""

    @pytest.fixture
    def canary(self, tmp_path: Path) -> Path:
        """Make a file of the host, beside the directory `in` for what is copied out."""
        canary = tmp_path / "outside" / "canary"
        canary.parent.mkdir()
        canary.write_text(SECRET)
        (tmp_path / "in").mkdir()
        return canary

    @pytest.fixture(scope="class")
    @classmethod
    def impostor(cls, bottle_factory: Any) -> Iterator[Impostor]:  # noqa: ANN401 -- of the plugin
        """Launch a bottle whose PATH begins with a directory that the guest can write."""
        directory = f"/tmp/conformance-{uuid.uuid4().hex}"  # noqa: S108 -- in the guest
        path = f"{directory}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        bottle = bottle_factory(backend=cls.backend, env={"PATH": path})
        yield Impostor(bottle, directory)
        bottle.exec(["rm", "-r", directory])

    def test_reading_through_a_link_stays_in_the_guest(
        self, subject: Bottle, place: str, canary: Path
    ) -> None:
        """An absolute link means the guest's file of that name."""
        subject.exec(["ln", "-s", str(canary), f"{place}/link"]).check()
        if not self.private_files:
            assert subject.read_file(f"{place}/link") == SECRET
            return
        with pytest.raises(FileNotFoundError):
            subject.read_file(f"{place}/link")

    def test_writing_through_a_link_stays_in_the_guest(
        self, subject: Bottle, place: str, canary: Path
    ) -> None:
        """For a file, and for a tree below a linked directory."""
        subject.exec(["ln", "-s", str(canary), f"{place}/file"]).check()
        subject.exec(["ln", "-s", str(canary.parent), f"{place}/directory"]).check()
        source = canary.parent.parent / "source"
        source.write_text("new")
        writes: list[Callable[[], None]] = [
            lambda: subject.write_file(f"{place}/file", "new"),
            lambda: subject.write_file(f"{place}/directory/canary", "new"),
            lambda: subject.copy_in(source, f"{place}/directory/canary"),
        ]
        for write in writes:
            canary.write_text(SECRET)
            try:
                write()
            except OSError:
                assert self.private_files
            assert canary.read_text() == (SECRET if self.private_files else "new")

    @pytest.mark.parametrize("kind", ["absolute", "relative", "of-proc"])
    def test_a_link_that_leads_out_does_not_come_out(
        self, subject: Bottle, place: str, canary: Path, kind: str
    ) -> None:
        """UnsafePathError: neither the link nor what it would mean on the host."""
        target = {
            "absolute": str(canary),
            "relative": "../../outside/canary",
            "of-proc": "/proc/self/environ",
        }[kind]
        subject.exec(["mkdir", f"{place}/loot"]).check()
        subject.exec(["ln", "-s", target, f"{place}/loot/link"]).check()
        inside = canary.parent.parent / "in"
        for path in (f"{place}/loot", f"{place}/loot/link"):
            with pytest.raises(UnsafePathError, match="link"):
                subject.copy_out(path, inside / "out")
        assert list(inside.iterdir()) == []

    def test_a_link_that_stays_inside_comes_out(
        self, subject: Bottle, place: str, canary: Path
    ) -> None:
        """Down, sideways and up, as far as the tree goes; also one that leads nowhere."""
        script = "mkdir -p loot/a/b; ln -s a/b loot/down; ln -s ../../x loot/a/b/up; : > loot/x"
        subject.sh(f"{script}; ln -s nowhere loot/broken", cwd=place).check()
        out = subject.copy_out(f"{place}/loot", canary.parent.parent / "in")
        assert (out / "a/b/up").resolve() == out / "x"
        assert (out / "down").is_dir()
        assert (out / "broken").is_symlink()

    def test_hard_links_come_out(self, subject: Bottle, place: str, canary: Path) -> None:
        """With their content under both names, wherever the archive began."""
        script = "mkdir loot other; echo one > loot/a; ln loot/a loot/b; ln loot/a other/c"
        subject.sh(script, cwd=place).check()
        inside = canary.parent.parent / "in"
        out = subject.copy_out(f"{place}/loot", inside / "both")
        assert [(out / name).read_text() for name in ("a", "b")] == ["one\n"] * 2
        assert subject.copy_out(f"{place}/other/c", inside / "c").read_text() == "one\n"

    def test_a_pipe_does_not_come_out(self, subject: Bottle, place: str, canary: Path) -> None:
        """UnsafePathError, soon: nobody waits for its other end."""
        subject.sh("mkdir loot; mkfifo loot/pipe", cwd=place).check()
        start = time.monotonic()
        with pytest.raises(UnsafePathError, match="pipe"):
            subject.copy_out(f"{place}/loot", canary.parent.parent / "in" / "out")
        assert time.monotonic() - start < PATIENCE

    def test_a_device_does_not_come_out(self, subject: Bottle, canary: Path) -> None:
        """UnsafePathError."""
        with pytest.raises(UnsafePathError, match="device"):
            subject.copy_out("/dev/null", canary.parent.parent / "in" / "out")

    def test_dot_dot_does_not_come_out_under_that_name(
        self, subject: Bottle, place: str, canary: Path
    ) -> None:
        """It is resolved in the guest: what comes is the directory that it means."""
        subject.sh("mkdir -p loot/below; echo x > loot/file", cwd=place).check()
        inside = canary.parent.parent / "in"
        out = subject.copy_out(f"{place}/loot/below/..", inside)
        assert out == inside / "loot"
        assert (out / "file").read_text() == "x\n"
        with pytest.raises(UnsafePathError):
            subject.copy_out("/", inside / "everything")

    def test_the_impostor_answers(self, impostor: Impostor, canary: Path) -> None:
        """What it sends arrives, less set-uid, foreign owners and what nobody asked for."""
        inside = canary.parent.parent / "in"
        out = impostor.answers(odd_archive()).copy_out("loot", inside)
        assert (out / "program").read_bytes() == CONTENT
        assert (out / "program").stat().st_mode & 0o7022 == 0
        assert (out / "program").stat().st_uid == inside.stat().st_uid
        assert list(inside.iterdir()) == [out]

    @pytest.mark.parametrize("name", ARCHIVE_NAMES)
    def test_a_hostile_archive_has_no_effect(
        self, impostor: Impostor, canary: Path, name: str
    ) -> None:
        """Whoever controls the guest controls its tar: every such answer is refused."""
        bottle = impostor.answers(dict(hostile_archives(canary))[name])
        before = described(canary.parent.parent)
        destination = canary.parent.parent / "in" / "loot"
        start = time.monotonic()
        try:
            with pytest.raises((UnsafePathError, OutputLimitError)):
                bottle.copy_out("loot", destination)
        finally:
            # Nothing of Python removes a tree that is too deep, should one have come out.
            process.run(["rm", "-rf", str(destination)], timeout=60)
        assert time.monotonic() - start < PATIENCE
        assert described(canary.parent.parent) == before

    @pytest.mark.parametrize("name", ARCHIVE_NAMES)
    def test_a_hostile_archive_does_not_upset_the_changes(
        self, impostor: Impostor, canary: Path, name: str
    ) -> None:
        """They are told or refused, soon, and show nothing of the host."""
        bottle = impostor.answers(dict(hostile_archives(canary))[name])
        before = described(canary.parent.parent)
        start = time.monotonic()
        try:
            text = bottle.diff().text
        except (UnsafePathError, OutputLimitError):
            text = ""
        assert time.monotonic() - start < PATIENCE
        assert SECRET not in text
        assert described(canary.parent.parent) == before
