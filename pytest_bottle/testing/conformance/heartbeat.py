"""Signs of life of a process in a guest, which need neither ps nor /proc to be read."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_bottle.bottle import Bottle

SILENCE = 0.7
"""Seconds without a beat after which a process counts as dead; it beats ten times a second."""


class Heartbeat:
    """A guest file that grows for as long as a process lives."""

    def __init__(self, bottle: Bottle, directory: str, name: str = "beats") -> None:
        """Choose the file."""
        self._bottle = bottle
        self.path = f"{directory}/{name}"
        self.script = f"while :; do echo >> {shlex.quote(self.path)}; sleep 0.1; done"
        """Shell commands that beat until they are killed."""

    def count(self) -> int:
        """Return how often it has beaten."""
        result = self._bottle.sh(f"wc -c < {shlex.quote(self.path)}")
        return int(result.stdout) if result.success else 0

    def goes_on(self) -> bool:
        """Tell whether it beats now."""
        before = self.count()
        return wait_until(lambda: self.count() > before, timeout=5)

    def has_ended(self) -> bool:
        """Tell whether it did beat and does no more."""
        before = self.count()
        time.sleep(SILENCE)
        return self.count() == before > 0


def wait_until(condition: Callable[[], bool], *, timeout: float) -> bool:
    """Wait at most `timeout` seconds for a condition; return whether it came true."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
