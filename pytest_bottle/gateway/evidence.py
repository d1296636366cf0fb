"""A bottle's exchanges in a file, each written when it ends, without the secrets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pytest_bottle.gateway.scrubbing import Scrubber
from pytest_bottle.redaction import forms

if TYPE_CHECKING:
    from typing import BinaryIO

    from pytest_bottle.gateway.opening import Opening


class Evidence:
    """The file `<bottle>.model.jsonl` in the bottle's directory of evidence, where it has one."""

    def __init__(self, opening: Opening) -> None:
        """Open the file.

        Raises:
            OSError: it could not be opened.
        """
        self._file: BinaryIO | None = None
        if opening.evidence is not None:
            opening.evidence.mkdir(parents=True, exist_ok=True)
            path = opening.evidence / f"{opening.bottle}.model.jsonl"
            self._file = path.open("ab", buffering=0)
            self._scrubber = Scrubber(opening.hidden)
            values = [form for value in opening.hidden.values() if value for form in forms(value)]
            # As they would look within JSON that is written in ASCII.
            self._hidden = [json.dumps(form)[1:-1].encode() for form in values]

    def add(self, record: bytes) -> None:
        """Write an exchange, as `encode_exchange` made it.

        Raises:
            OSError: it could not be written.
        """
        if self._file is None:
            return
        if any(form in record for form in self._hidden):
            record = json.dumps(self._scrubber.json(json.loads(record))).encode()
        self._file.write(record + b"\n")

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None
