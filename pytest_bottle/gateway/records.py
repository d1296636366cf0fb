"""What happened at one part of a bottle's door: kept in order, and written down at once."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.gateway.scrubbing import Scrubber
from pytest_bottle.redaction import forms

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import BinaryIO

PAGE: Final = 1000
"""Records that a test process gets at a time."""


class RecordLog:
    """The records of one part, numbered from 0. What a test has seen of it is never taken back."""

    def __init__(self, path: Path | None, hidden: Mapping[str, str]) -> None:
        """Open the file, where there is to be one.

        Args:
            path: where each record is written as a line of JSON; None keeps them in memory.
            hidden: values by name that are blotted out of whatever is added.
        """
        self._records: list[dict[str, Any]] = []
        self._scrubber = Scrubber(hidden)
        values = [form for value in hidden.values() if value for form in forms(value)]
        self._hidden = [json.dumps(form)[1:-1] for form in values]
        self._path = path
        self._file: BinaryIO | None = None
        self._written = 0
        """Records that are in the file: those before are, too, so that it has no gaps."""
        self._closed = False
        self.problems: list[str] = []
        """Why records are not in the file; empty where all of them are."""
        self._write()

    def add(self, record: Mapping[str, Any]) -> int:
        """Add a record of JSON values, and return its number.

        A full disk is no reason to lose it: the test still sees it, and that it was not written.
        It is tried again with the next one, and at the end.
        """
        text = json.dumps(record)
        if any(form in text for form in self._hidden):
            text = json.dumps(self._scrubber.json(json.loads(text)))
        self._records.append(json.loads(text))
        self._write(text)
        return len(self._records) - 1

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._records)

    def page(self, since: int) -> tuple[list[dict[str, Any]], bool]:
        """Return records from a number on, up to `PAGE`, and whether there are more."""
        page = self._records[since : since + PAGE]
        return page, since + len(page) < len(self._records)

    def close(self) -> None:
        """Close the file. Idempotent; the records stay."""
        if self._closed:
            return
        self._write()
        self._closed = True
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, last: str = "") -> None:
        """Write down what is not yet; `last` is the last of them as it is to be written."""
        if self._path is None or self._closed:
            return
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("ab", buffering=0)
            while (number := self._written) < len(self._records):
                whole = last and number == len(self._records) - 1
                _append(self._file, last if whole else json.dumps(self._records[number]))
                self._written += 1
        except OSError as error:
            self.problems = [f"records could not be written down: {error}"]
        else:
            self.problems = []


def _append(file: BinaryIO, line: str) -> None:
    """Append a line, or nothing.

    Raises:
        OSError: there was no room for all of it.
    """
    data = memoryview(line.encode() + b"\n")
    begun = False
    try:
        while data:
            data = data[file.write(data) :]
            begun = True
    except OSError:
        if begun:
            with suppress(OSError):
                file.truncate(file.seek(0, os.SEEK_END) - (len(line.encode()) + 1 - len(data)))
        raise
