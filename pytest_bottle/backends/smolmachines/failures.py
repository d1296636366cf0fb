"""What the engine says when it fails, and what that means.

With `--error-format json` the last line on stderr is `{"error":{"code":...,"message":...}}`, after
lines of progress and warnings, and the return code is 1. Only arguments that it does not know are
told in plain text, with the return code 2. Codes are uneven, so that the message decides where they
do not.
"""

from __future__ import annotations

import json
import re
from typing import Final

NOT_FOUND: Final = "NOT_FOUND"
CONFIG_ERROR: Final = "CONFIG_ERROR"
ENGINE_ERROR: Final = "SMOLVM_ERROR"
UNSAID: Final = ""
"""The code of a failure that the engine said in plain text."""

FAILED: Final = 1
"""The engine's return code for what it could not do."""

USAGE: Final = 2
"""Its return code for arguments that it does not know."""

_ABSENT: Final = re.compile(r"vm not found: |VM '[^']*' not found")
_STOPPED: Final = re.compile(r"(?:machine|golden) '[^']*' is not running")
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

_TAIL: Final = 2000


class SmolvmError(Exception):
    """A verb of the engine failed.

    Args:
        verb: as on the command line.
        code: the engine's own, or empty.
        message: in the engine's words.
    """

    def __init__(self, verb: str, *, code: str, message: str) -> None:
        """Build the sentence from its parts."""
        self.verb = verb
        self.code = code
        self.message = message
        super().__init__(f"`smolvm {verb}` failed: {message}")

    @property
    def absent(self) -> bool:
        """Whether the machine that was asked for is not there."""
        return bool(_ABSENT.search(self.message))

    @property
    def stopped(self) -> bool:
        """Whether the machine that was asked for does not run."""
        return bool(_STOPPED.search(self.message))

    @property
    def lost(self) -> bool:
        """Whether the machine ended while the engine talked to it."""
        return self.message.startswith("io operation failed: ")

    @property
    def taken(self) -> bool:
        """Whether another machine has the name."""
        return "already exists" in self.message

    @property
    def has_branches(self) -> bool:
        """Whether it was refused because branches depend on the machine."""
        return "--cascade" in self.message

    @property
    def unbranchable(self) -> bool:
        """Whether it was refused because the machine was not started to be branched."""
        return "was not started as branchable" in self.message


def read_failure(verb: str, returncode: int, stderr: bytes) -> SmolvmError:
    """Return what a failed verb said: its last JSON error, else the end of its text."""
    text = stderr.decode(errors="replace")
    for line in reversed(text.splitlines()):
        if found := _error_in(line):
            return SmolvmError(verb, code=found[0], message=found[1])
    words = _COLOUR.sub("", text).strip().removeprefix("Error: ")[-_TAIL:]
    if returncode < 0:
        words = f"it was killed by signal {-returncode}. {words}".strip()
    elif returncode == USAGE:
        words = f"this release of the engine does not know the arguments. {words}".strip()
    return SmolvmError(verb, code=UNSAID, message=words or f"return code {returncode}")


def read_exec_failure(returncode: int, stderr: bytes) -> SmolvmError | None:
    """Return what the engine said instead of running a command; None where the command ran.

    The engine says nothing else then. A command that returns 1 after exactly such words passes for
    it: whoever runs what a guest may have changed has to ask the engine again.
    """
    if returncode != FAILED:
        return None
    lines = stderr.decode(errors="replace").splitlines()
    found = _error_in(lines[-1]) if lines else None
    return found and SmolvmError("machine exec", code=found[0], message=found[1])


def _error_in(line: str) -> tuple[str, str] | None:
    try:
        error = json.loads(line)["error"]
        return str(error["code"]), str(error["message"])
    except (ValueError, LookupError, TypeError):
        return None
