"""What a client of the exec channel waits for, and what it makes of a failure."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING

from pytest_bottle.backends.base import ExecResult
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.errors import UserUnsupportedError

if TYPE_CHECKING:
    from pytest_bottle.backends.base import ExecRequest


@dataclass(frozen=True, slots=True)
class Failure:
    """What the server could not do: the step, its errno, and the guest's working directory."""

    stage: str
    code: int
    workdir: str


@dataclass(slots=True)
class Pending:
    """One command or other request under way: what it has written, and its end."""

    output_limit: int
    truncate: bool
    ended: threading.Event = field(default_factory=threading.Event)
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    overflow: set[str] = field(default_factory=set)
    returncode: int | None = None
    failure: Failure | None = None
    descriptor: int | None = None
    """What came along with the answer."""

    def take(self, stream: str, data: memoryview) -> bool:
        """Keep what fits; return whether the command has to be stopped."""
        kept = self.stdout if stream == "stdout" else self.stderr
        room = self.output_limit - len(kept)
        kept += data[:room]
        if len(data) > room:
            first = not self.overflow
            self.overflow.add(stream)
            return first and not self.truncate
        return False


def result_of_failure(failure: Failure, request: ExecRequest, duration: float) -> ExecResult:
    """Turn a command that never started into a shell's answer, or into the cwd's own error."""
    stage, code = failure.stage, failure.code
    if stage in {"cwd", "workdir"}:
        where = request.cwd if stage == "cwd" else failure.workdir
        raise OSError(code, os.strerror(code), where)
    if stage == "user":
        raise UserUnsupportedError(
            str(request.user), reason=f"the sandbox has no such user ({os.strerror(code)})."
        )
    if stage == "exec":
        returncode = 127 if code == errno.ENOENT else 126
        text = f"{request.argv[0]}: {os.strerror(code)}\n"
    elif stage == "fork":
        returncode = 126
        text = f"the sandbox cannot start another process: {os.strerror(code)}\n"
    else:
        message = f"the sandbox could not enter a command ({stage}: {os.strerror(code)})"
        raise SandboxLostError(message)
    return ExecResult(
        argv=request.argv,
        returncode=returncode,
        stdout_bytes=b"",
        stderr_bytes=text.encode(),
        duration=duration,
    )
