"""Puts a person's command into a running sandbox, confined as the test's own commands are."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Final
from typing import NoReturn

from pytest_bottle.backends.bubblewrap import namespaces
from pytest_bottle.backends.bubblewrap import seccomp
from pytest_bottle.backends.bubblewrap.sandbox import Keeper
from pytest_bottle.backends.channel.command import replace
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.state.owner import Owner

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence

SHELL: Final = ("/bin/sh", "-i")


def enter(reference: Mapping[str, Any], argv: Sequence[str] = ()) -> int:
    """Run a command in a sandbox on this process's terminal; return its exit status, as a shell's.

    This process gives up root and joins the sandbox for good: it can only end afterwards.

    Args:
        reference: What `Sandbox.reference` returned.
        argv: The command; none is an interactive shell.

    Raises:
        SandboxLostError: the sandbox is gone.
    """
    keeper = Keeper.from_json(reference["keeper"])
    if not Owner.decode(keeper.owner).alive():
        raise SandboxLostError(keeper.lost_sentence())
    cgroup_fds = [os.open(Path(path) / "cgroup.procs", os.O_WRONLY) for path in keeper.cgroups]
    confinement = namespaces.Confinement(seccomp.program(), keeper.rlimits, cgroup_fds)
    pidfd = os.pidfd_open(keeper.init)
    env = {**reference["env"], "TERM": os.environ.get("TERM", "dumb")}
    command = tuple(argv) or SHELL
    if keeper.uid is not None and keeper.gid is not None:
        namespaces.become(keeper.uid, keeper.gid)
    namespaces.join(pidfd)
    pid = os.fork()
    if pid == 0:
        _become(command, env, reference["guest"]["workdir"], confinement)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code


def _become(
    argv: Sequence[str], env: Mapping[str, str], workdir: str, confinement: namespaces.Confinement
) -> NoReturn:
    try:
        for fd in confinement.cgroup_fds:
            os.write(fd, b"0")
        confinement.enter()
        os.chdir(workdir)
        replace(list(argv), dict(env))
    except OSError as problem:
        words = os.strerror(problem.errno or 0)
        os.write(2, f"pytest-bottle: {argv[0]}: {words}\n".encode())
    finally:
        os._exit(127)
