"""Has the programs of a process end with it, also where it is killed and can end nothing itself.

A program that waits for an upstream hears of no death: it would go on until the upstream answers.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from pytest_bottle import process

_NAME: Final = "pytest_bottle.gateway.git.minding"

# It reads until the process that started it is gone, for nobody else has the other end.
_SCRIPT: Final = """\
trap '' HUP INT QUIT TERM
groups=' '
while read -r sign group; do
	case $sign in
	+) groups="$groups$group " ;;
	-) groups="${groups%% $group *} ${groups#* $group }" ;;
	esac
done
for group in $groups; do kill -9 "-$group" 2>/dev/null; done
"""


class Minder:
    """A shell that kills the process groups it was told of when this process ends."""

    def __init__(self) -> None:
        """Start none before there is something to mind."""
        self._groups: set[int] = set()
        self._shell: process.Process | None = None

    def mind(self, group: int) -> None:
        """Have a group killed at the end of this process, however it ends.

        Raises:
            OSError: nobody can be had to do so.
        """
        self._groups.add(group)
        if not self._tell(f"+ {group}\n"):
            self._start()

    def release(self, group: int) -> None:
        """Let go of a group that has ended, as soon as its number may be another's. Idempotent."""
        if group in self._groups:
            self._groups.remove(group)
            self._tell(f"- {group}\n")

    def _start(self) -> None:
        """Start a shell, in place of one that somebody killed."""
        if self._shell is not None:
            self._shell.kill()
            self._shell.wait()
            assert self._shell.stdin is not None  # noqa: S101 - it is a pipe
            with suppress(OSError):
                self._shell.stdin.close()
        argv = ["/bin/sh", "-c", _SCRIPT, _NAME]
        self._shell = process.start(argv, stdin=process.PIPE, cwd="/")
        self._tell("".join(f"+ {group}\n" for group in sorted(self._groups)))

    def _tell(self, line: str) -> bool:
        if self._shell is None or self._shell.stdin is None:
            return False
        try:
            os.write(self._shell.stdin.fileno(), line.encode())
        except OSError:
            return False
        return True


MINDER: Final = Minder()
"""This process's own."""
