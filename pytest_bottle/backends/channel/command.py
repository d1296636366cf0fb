"""How a freshly forked child turns into a command.

It is a part of the program that `program.py` sends to guests: see there for its limits.
"""

from __future__ import annotations

import errno
import os
import signal

from pytest_bottle.backends.channel.killing import wear_mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any
    from typing import NoReturn

BASE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
IGNORED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
RESET_SIGNALS = tuple(
    number
    for number in range(1, signal.NSIG)
    if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33)  # The C library's own.
)
"""A command starts as a login's first process would, whatever this process was told to ignore."""


def become_command(
    request: dict[str, Any],
    workdir: str,
    enter: Callable[[], None],
    report: int,
    streams: tuple[int, int, int],
) -> NoReturn:
    """Turn a freshly forked child into the command; never returns.

    What is written to `report` is the child's pid, and after a line break the step that failed and
    its errno. It is closed without more when the command has taken over.
    """
    stage = "start"
    try:
        os.setsid()
        # All other descriptors are close-on-exec, as Python makes them.
        for target, stream in enumerate(streams):
            os.dup2(stream, target)
        os.write(report, f"{os.getpid()}\n".encode())
        enter()
        stage = "user"
        become_user(request["account"])
        stage = "start"
        wear_mark(request["mark"])
        for number in RESET_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        os.umask(0o022)
        cwd = request["cwd"]
        if cwd is None or not cwd.startswith("/"):
            stage = "workdir"
            os.chdir(workdir)
        if cwd is not None:
            stage = "cwd"
            os.chdir(cwd)
        stage = "exec"
        replace(request["argv"], request["env"])
    except (OSError, ValueError) as problem:  # ValueError: a NUL, or what no encoding has.
        code = getattr(problem, "errno", None) or errno.EINVAL
        os.write(report, f"{stage} {code}".encode())
    finally:
        os._exit(127)


def become_user(account: tuple[int, int, list[int]] | None) -> None:
    """Become a user of the guest's, by uid, gid and further groups; None stays who this is."""
    if account is not None:
        uid, gid, groups = account
        os.setgroups(groups)
        os.setgid(gid)
        os.setuid(uid)


def replace(argv: list[str], env: dict[str, str]) -> NoReturn:
    """Look the command up as a shell does, and execute it."""
    if "/" in argv[0]:
        os.execve(argv[0], argv, env)
    seen = errno.ENOENT
    for folder in env.get("PATH", BASE_PATH).split(":"):
        try:
            os.execve((folder or ".") + "/" + argv[0], argv, env)
        except OSError as problem:
            if problem.errno not in (errno.ENOENT, errno.ENOTDIR):
                seen = problem.errno or seen
    raise OSError(seen, argv[0])
