"""Attempts to exhaust the host."""
# ruff: noqa: S101 -- checks assert

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Self

from pytest_bottle.errors import ExecTimeoutError
from pytest_bottle.testing.conformance.heartbeat import wait_until
from pytest_bottle.testing.isolation.walled import WalledSubject

if TYPE_CHECKING:
    from pytest_bottle.testing.conformance.subject import Launch

MIB = 1024 * 1024
PIDS = 64
OTHERS = 400
"""Processes that may come and go on a host meanwhile; a bomb at large makes thousands."""

BOMB = """\
import os, time
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.05)
"""
"""Unlike a shell's, it neither gives up nor burns out where a process cannot be had."""


class Census(threading.Thread):
    """Counts this host's processes all the time; the most that there were is `most`."""

    def __init__(self) -> None:
        """Count once."""
        super().__init__(daemon=True)
        self.first = self.most = self._count()
        self._ended = threading.Event()

    @staticmethod
    def _count() -> int:
        return sum(1 for path in Path("/proc").iterdir() if path.name.isdigit())

    def run(self) -> None:
        """Count on."""
        while not self._ended.wait(0.02):
            self.most = max(self.most, self._count())

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._ended.set()
        self.join()


class ResourceChecks(WalledSubject):
    """A bottle that takes all it can get gets its own share."""

    def test_a_fork_bomb_is_contained(self, launch: Launch) -> None:
        """The host has at most so many processes more, and another bottle notices nothing."""
        bottle, other = launch(pids=PIDS), launch()
        start = time.monotonic()
        with Census() as census, ThreadPoolExecutor(1) as pool:
            bomb = pool.submit(bottle.exec, [self.python, "-c", BOMB], timeout=5)
            time.sleep(1)
            answered = time.monotonic()
            assert other.sh("echo untouched", timeout=30 * self.patience).stdout == "untouched\n"
            assert time.monotonic() - answered < 5 * self.patience
            problem = bomb.exception(timeout=60 * self.patience)
        assert problem is None or isinstance(problem, ExecTimeoutError)
        assert time.monotonic() - start < 30 * self.patience
        if self.has_own_kernel(other):
            assert census.most - census.first < OTHERS, "its processes are none of the host's"
            return
        assert census.most - census.first >= PIDS // 3, "the bomb did not go off"
        assert census.most - census.first <= PIDS + OTHERS

    def test_a_bottle_recovers_from_its_fork_bomb(self, launch: Launch) -> None:
        """What ran out of time was killed, all of it."""
        bottle = launch(pids=PIDS)
        for _ in range(2):
            with contextlib.suppress(ExecTimeoutError):
                bottle.exec([self.python, "-c", BOMB], timeout=3)
            # The kernel counts the killed until they are reaped.
            assert wait_until(lambda: bottle.sh("true | cat").success, timeout=15 * self.patience)

    def test_closing_ends_a_fork_bomb(self, launch: Launch) -> None:
        """Soon, and nothing of it is left on the host."""
        bottle = launch(pids=PIDS)
        census = Census()
        with ThreadPoolExecutor(1) as pool:
            bomb = pool.submit(bottle.exec, [self.python, "-c", BOMB], timeout=60 * self.patience)
            time.sleep(1.5 * self.patience)
            start = time.monotonic()
            bottle.close()
            assert time.monotonic() - start < 20 * self.patience
            assert bomb.exception(timeout=30 * self.patience) is not None
        assert wait_until(
            lambda: Census().first < census.first + PIDS // 2, timeout=20 * self.patience
        )

    def test_a_memory_hog_is_stopped(self, launch: Launch) -> None:
        """It fails, alone: less is granted, and the bottle goes on."""
        bottle = launch(memory=128 * MIB)
        modest = f"head -c {32 * MIB} /dev/zero | tail | wc -c"
        assert bottle.sh(modest).stdout.strip() == str(32 * MIB)
        start = time.monotonic()
        result = bottle.sh(
            f"head -c {1024 * MIB} /dev/zero | tail > /dev/null", timeout=60 * self.patience
        )
        assert not result.success
        assert time.monotonic() - start < 40 * self.patience
        assert bottle.sh("echo alive").stdout == "alive\n"
        assert bottle.sh(modest).stdout.strip() == str(32 * MIB)

    def test_files_in_memory_count_as_memory_or_disk(self, launch: Launch) -> None:
        """A guest cannot fill the host's memory through /tmp, its home or /dev/shm."""
        bottle = launch(memory=128 * MIB, disk=64 * MIB)
        assert bottle.sh(f"head -c {16 * MIB} /dev/zero > /dev/shm/small").success
        for directory in ("/dev/shm", "/tmp", bottle.home, bottle.workdir):  # noqa: S108
            on_memory = bottle.sh(f"df -P {directory} | tail -n 1").stdout.startswith(
                ("tmpfs", "shm")
            )
            wrote = bottle.sh(
                f"head -c {256 * MIB} /dev/zero > {directory}/large", timeout=60 * self.patience
            )
            bottle.sh(f"rm -f {directory}/large", timeout=30 * self.patience)
            if on_memory or self.bounded_disk:
                assert not wrote.success, directory
        assert bottle.sh("echo alive").stdout == "alive\n"
