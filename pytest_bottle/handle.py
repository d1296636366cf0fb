"""Commands and files of a launched sandbox, as a test uses them."""

from __future__ import annotations

import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Final
from typing import Literal
from typing import overload

from pytest_bottle.argv import checked_argv
from pytest_bottle.argv import shell_argv
from pytest_bottle.backends.base import FILE_LIMIT
from pytest_bottle.backends.base import OUTPUT_LIMIT
from pytest_bottle.backends.base import ExecRequest
from pytest_bottle.backends.base import ExecResult
from pytest_bottle.backends.base import Sandbox
from pytest_bottle.changes import Diff
from pytest_bottle.changes import snapshot
from pytest_bottle.errors import BottleClosedError
from pytest_bottle.errors import BottleError
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.guest_files import TREE_LIMIT
from pytest_bottle.guest_files import GuestFiles
from pytest_bottle.provision.batch import ARCHIVE_HERE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.command_log import CommandLog
    from pytest_bottle.plan import BottlePlan

FILE_TIMEOUT: Final = 120.0
"""Seconds that a file operation may take; independent of the bottle's own timeout."""


class SandboxHandle:
    """A launched sandbox with its log; relative guest paths are below `workdir`.

    Methods may be called from several threads at once.
    """

    def __init__(
        self, *, plan: BottlePlan, wall: str, sandbox: Sandbox, baseline: bytes, log: CommandLog
    ) -> None:
        """Take over a sandbox; `baseline` is a tar of its workdir as it was provisioned."""
        self.plan: Final = plan
        self.wall: Final = wall
        self.sandbox: Final = sandbox
        self.log: Final = log
        self._baseline = baseline
        self._closed = False
        self._lost = False
        self._files = GuestFiles(self._execute_quietly, self.workdir)
        self._door_environment: Mapping[str, str] = {}
        """What every command needs to find the bottle's door."""

    @property
    def name(self) -> str:
        """Its name, unique on this host."""
        return self.plan.name

    @property
    def backend(self) -> str:
        """The name of the backend that launched it."""
        return self.plan.backend

    @property
    def user(self) -> str:
        """The guest user that commands run as."""
        return self.sandbox.guest.user

    @property
    def home(self) -> str:
        """The guest user's home."""
        return self.sandbox.guest.home

    @property
    def workdir(self) -> str:
        """The guest directory that commands run in and relative paths are below."""
        return self.sandbox.guest.workdir

    @property
    def lost(self) -> bool:
        """Whether its sandbox went away under it."""
        return self._lost

    @property
    def closed(self) -> bool:
        """Whether it was torn down."""
        return self._closed

    def exec(
        self,
        argv: Sequence[str],
        *,
        input: str | bytes | None = None,  # noqa: A002 - subprocess's name for it
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        timeout: float | None = None,
        output_limit: int = OUTPUT_LIMIT,
        truncate: bool = False,
    ) -> ExecResult:
        """Run a command to its end. A failing command is a result, not an exception.

        Args:
            argv: The command and its arguments; no shell reads them. The command is looked up in
                the guest's PATH.
            input: Its standard input, text as UTF-8; None is an empty one.
            cwd: The directory to run it in; a relative one is below `workdir`.
            env: Variables to add to the bottle's own.
            user: Whom to run it as, by name or uid; None is the bottle's user.
            timeout: Seconds until it and its children are killed; None is the bottle's own.
            output_limit: Bytes that it may write to each of stdout and stderr.
            truncate: Keep the first `output_limit` bytes of a stream, and say so in the result,
                where it would be an error otherwise.

        Raises:
            TimeoutError: it ran out of time (`ExecTimeoutError`, with its output until then).
            OutputLimitError: it wrote more than `output_limit`, and was killed.
            UserUnsupportedError: the bottle cannot run commands as that user.
            FileNotFoundError, NotADirectoryError, PermissionError: for `cwd`.
            SandboxLostError: the sandbox or its engine went away.
            BottleClosedError: after teardown.
        """
        request = ExecRequest(
            argv=checked_argv(argv),
            input=input.encode() if isinstance(input, str) else input,
            cwd=cwd,
            env=dict(env or {}),
            user=user,
            timeout=self.plan.timeout if timeout is None else timeout,
            output_limit=output_limit,
            truncate=truncate,
        )
        return self._execute(request)

    def sh(
        self,
        script: str,
        *,
        input: str | bytes | None = None,  # noqa: A002 - subprocess's name for it
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        timeout: float | None = None,
        output_limit: int = OUTPUT_LIMIT,
        truncate: bool = False,
    ) -> ExecResult:
        """Run a script with the guest's /bin/sh; the keywords are those of `exec`."""
        return self.exec(
            shell_argv(script),
            input=input,
            cwd=cwd,
            env=env,
            user=user,
            timeout=timeout,
            output_limit=output_limit,
            truncate=truncate,
        )

    @overload
    def read_file(
        self, path: str, *, text: Literal[True] = True, limit: int = FILE_LIMIT
    ) -> str: ...

    @overload
    def read_file(self, path: str, *, text: Literal[False], limit: int = FILE_LIMIT) -> bytes: ...

    def read_file(self, path: str, *, text: bool = True, limit: int = FILE_LIMIT) -> str | bytes:
        """Return a guest file's content, as UTF-8 text (line ends kept) or as bytes.

        Raises:
            FileNotFoundError, IsADirectoryError, PermissionError: as `open` would.
            OutputLimitError: it is larger than `limit` bytes.
            UnicodeDecodeError: it is not UTF-8; pass `text=False`.
        """
        data = self._files.read(path, limit=limit)
        return data.decode() if text else data

    def write_file(self, path: str, contents: str | bytes, *, mode: int | None = None) -> None:
        """Write a guest file, making the directories above it.

        Raises:
            IsADirectoryError, NotADirectoryError, PermissionError: as `open` would.
            OutputLimitError: it is larger than 100 MiB.
        """
        data = contents.encode() if isinstance(contents, str) else contents
        self._files.write(path, data, mode=mode)

    def copy_in(self, source: str | Path, path: str) -> None:
        """Copy a host file or directory to a guest path, making the directories above it.

        `path` is its new name; one that ends in `/` is a directory to put it in. A directory is
        merged into one that exists.

        Raises:
            FileNotFoundError: there is no `source`.
            UnsafePathError: a link in the source leads out of it.
            PermissionError: the guest user may not write there.
        """
        self._files.put(Path(source), path)

    cp_in = copy_in

    def copy_out(self, path: str, destination: str | Path, *, limit: int = TREE_LIMIT) -> Path:
        """Copy a guest file or directory to the host, and return where it is.

        `destination` is its new name, or a directory to put it in. It appears whole or not at all.

        Raises:
            FileNotFoundError, PermissionError: for `path`.
            FileExistsError: `destination` is there already.
            UnsafePathError: the guest has a link that leads out, or a device, in it.
            OutputLimitError: it is larger than `limit` bytes.
        """
        return self._files.take(path, Path(destination), limit=limit)

    def exists(self, path: str) -> bool:
        """Tell whether there is something at a guest path, be it a broken link."""
        return self._files.exists(path)

    def listdir(self, path: str = ".") -> list[str]:
        """Return the sorted names in a guest directory.

        Raises:
            FileNotFoundError, NotADirectoryError, PermissionError: as `os.listdir` would.
        """
        return self._files.names(path)

    def diff(self) -> Diff:
        """Return what changed in the workdir since it was provisioned.

        Raises:
            OutputLimitError: the workdir is larger than 512 MiB.
        """
        argv = ("/bin/sh", "-c", ARCHIVE_HERE)
        result = self._execute_quietly(argv, None, TREE_LIMIT).check()
        return Diff(snapshot(self._baseline), snapshot(result.stdout_bytes))

    def connection(self, user: str | None = None) -> str:
        """Return a command line that attaches a person's shell to it, to be run on this host."""
        return shlex.join(self.sandbox.connection(user))

    def _execute(self, request: ExecRequest) -> ExecResult:
        if self._closed:
            raise BottleClosedError(self.name)
        if self._door_environment:
            request = replace(request, env={**self._door_environment, **request.env})
        start = time.monotonic()
        try:
            result = self.sandbox.exec(request)
        except BaseException as problem:
            self._lost = self._lost or isinstance(problem, SandboxLostError)
            if isinstance(problem, BottleError | OSError):
                self.log.problem(request.argv, time.monotonic() - start, problem)
            raise
        self.log.result(result)
        return result

    def _execute_quietly(self, argv: tuple[str, ...], data: bytes | None, limit: int) -> ExecResult:
        """Run a command of the handle's own, which is not the test's and not in its record."""
        if self._closed:
            raise BottleClosedError(self.name)
        request = ExecRequest(argv=argv, input=data, timeout=FILE_TIMEOUT, output_limit=limit)
        try:
            return self.sandbox.exec(request)
        except SandboxLostError:
            self._lost = True
            raise
