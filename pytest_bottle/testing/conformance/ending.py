"""Checks of the handle itself, of several bottles beside each other, and of their end."""
# ruff: noqa: S101, PLR2004 -- checks assert, on times of their own

from __future__ import annotations

import shlex
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.errors import BottleClosedError
from pytest_bottle.errors import InfraError
from pytest_bottle.testing.conformance.heartbeat import wait_until
from pytest_bottle.testing.conformance.subject import Subject

if TYPE_CHECKING:
    from pytest_bottle.bottle import Bottle
    from pytest_bottle.testing.conformance.subject import Launch


class EndingChecks(Subject):
    """A bottle says what it is, is its own, and ends when it is told to."""

    def test_the_handle_says_what_it_is(self, subject: Bottle) -> None:
        """Backend, wall and absolute paths."""
        assert subject.backend == self.backend
        assert subject.wall
        assert subject.name in repr(subject)
        assert subject.home.startswith("/")
        assert subject.workdir.startswith("/")

    def test_a_person_can_attach(self, subject: Bottle) -> None:
        """`connection` is a command line whose program is on this host."""
        words = shlex.split(subject.connection())
        assert words
        assert shutil.which(words[0])

    def test_two_bottles_share_no_workspace(self, launch: Launch) -> None:
        """Not the workdir, not the home, not the name."""
        one, other = launch(), launch()
        assert one.name != other.name
        one.write_file("file", "of one")
        one.write_file(f"{one.home}/file", "of one")
        assert not other.exists("file")
        assert not other.exists(f"{other.home}/file")

    def test_a_closed_bottle_says_so(self, launch: Launch) -> None:
        """Whatever is asked of it; closing it again does nothing."""
        bottle = launch()
        bottle.close()
        bottle.close()
        assert bottle.closed
        for call in (
            lambda: bottle.exec(["true"]),
            lambda: bottle.sh("true"),
            lambda: bottle.read_file("file"),
            lambda: bottle.write_file("file", "x"),
            lambda: bottle.exists("file"),
            bottle.listdir,
            bottle.diff,
        ):
            with pytest.raises(BottleClosedError, match=bottle.name):
                call()

    def test_closing_ends_a_running_command(self, launch: Launch) -> None:
        """Its caller is told soon, and does not wait for ever."""
        bottle = launch()
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(bottle.sh, "touch started; sleep 60", timeout=60)
            assert wait_until(lambda: bottle.exists("started"), timeout=10)
            start = time.monotonic()
            bottle.close()
            with pytest.raises((InfraError, BottleClosedError)):
                running.result(timeout=15)
        assert time.monotonic() - start < 5
