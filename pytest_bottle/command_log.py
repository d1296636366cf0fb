"""The record of the commands that ran in a bottle: for reports, and line by line as an artifact."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from dataclasses import asdict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.redaction import redactor

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_bottle.backends.base import ExecResult

TAIL: Final = 4000
"""Characters of each stream that are kept, from its end."""

KEPT: Final = 200
"""Commands that are kept in memory; the artifact has all."""


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """One command, its end, and the end of what it wrote. Secrets are out of it already."""

    started: float
    """Seconds since 1970."""
    duration: float
    """Seconds."""
    argv: tuple[str, ...]
    outcome: str
    """`0` and other return codes, or what went wrong."""
    stdout: str
    stderr: str


class CommandLog:
    """Keeps the last commands, and appends each to a file at once if it was given one."""

    def __init__(self, redact: Callable[[str], str], file: Path | None = None) -> None:
        """Start empty. `redact` takes the secrets out of a text."""
        self._redactors = [redact]
        self._file = file
        self._records: deque[CommandRecord] = deque(maxlen=KEPT)
        self._lock = threading.Lock()
        self.count = 0

    @property
    def records(self) -> tuple[CommandRecord, ...]:
        """The last commands, oldest first."""
        with self._lock:
            return tuple(self._records)

    def redact(self, text: str) -> str:
        """Return a text without the secrets."""
        for redact in self._redactors:
            text = redact(text)
        return text

    def hide(self, name: str, value: str) -> None:
        """Make a value one of the secrets, for what is recorded from now on."""
        self._redactors.append(redactor([name], {name: value}))

    def result(self, result: ExecResult) -> None:
        """Record a command that ended."""
        self._add(
            result.argv,
            result.duration,
            str(result.returncode),
            result.stdout_bytes,
            result.stderr_bytes,
        )

    def problem(
        self,
        argv: Sequence[str],
        duration: float,
        problem: BaseException,
    ) -> None:
        """Record a command that raised, with what it had written where that is known."""
        stdout = getattr(problem, "stdout", b"")
        stderr = getattr(problem, "stderr", b"")
        self._add(argv, duration, f"{type(problem).__name__}: {problem}", stdout, stderr)

    def keep(self, name: str, text: str) -> None:
        """Write a text beside the artifact, under its name less its last part, and this one.

        Nothing is written where there is no artifact, or no text.
        """
        if self._file is None or not text:
            return
        path = self._file.with_name(f"{self._file.name.split('.')[0]}.{name}")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "w", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - a descriptor
            file.write(self.redact(text))

    def _add(
        self, argv: Sequence[str], duration: float, outcome: str, stdout: bytes, stderr: bytes
    ) -> None:
        record = CommandRecord(
            started=time.time() - duration,
            duration=duration,
            argv=tuple(self.redact(word) for word in argv),
            outcome=self.redact(outcome),
            stdout=self._tail(stdout),
            stderr=self._tail(stderr),
        )
        with self._lock:
            self.count += 1
            self._records.append(record)
            if self._file is not None:
                # One write a record: what was recorded survives the death of this process.
                fd = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                try:
                    os.write(fd, json.dumps(asdict(record)).encode() + b"\n")
                finally:
                    os.close(fd)

    def _tail(self, data: bytes) -> str:
        # Redacted before it is cut, so that half a secret is not left over.
        return self.redact(data.decode(errors="replace"))[-TAIL:]
