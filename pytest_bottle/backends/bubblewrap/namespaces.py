"""The system calls by which a process joins a sandbox and gives up every privilege.

Linux only, through the C library. All that is needed is looked up when this module is imported:
after a process has joined a guest's mount namespace, a late look-up would read the guest's files.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import struct
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Final

if TYPE_CHECKING:
    from collections.abc import Sequence

CLONE_PARENT: Final = 0x00008000
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
ALL_NAMESPACES: Final = (
    CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
)

_SYS_CLONE: Final = {"x86_64": 56, "aarch64": 220}
"""By machine; see the kernel's syscall tables."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_SECCOMP: Final = 22
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_SECCOMP_MODE_FILTER: Final = 2
_LINUX_CAPABILITY_VERSION_3: Final = 0x20080522
_CAP_SYS_ADMIN: Final = 21
_LAST_CAPABILITY_TRIED: Final = 63
"""The kernel answers EINVAL past its own last one."""
_BPF_INSTRUCTION_SIZE: Final = 8

_libc = ctypes.CDLL(None, use_errno=True)
_prctl = _libc.prctl
_prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
_setns = _libc.setns
_setns.argtypes = [ctypes.c_int, ctypes.c_int]
_syscall = _libc.syscall
_syscall.argtypes = [ctypes.c_long] * 6
_syscall.restype = ctypes.c_long
_capset = _libc.capset
_capset.argtypes = [ctypes.c_char_p, ctypes.c_char_p]


def fork_sibling() -> int:
    """Fork a child whose parent is this process's own parent; return its pid, and 0 in the child.

    Only for a process with one thread, whose child calls nothing but system calls until it execs.

    Raises:
        OSError: a limit was reached.
    """
    pid = int(_syscall(_SYS_CLONE[os.uname().machine], CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0))
    if pid < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return pid


class _SockFprog(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _check(result: int, call: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies.

    Raises:
        ProcessLookupError: it has died already.
    """
    _check(_prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        raise ProcessLookupError(errno.ESRCH, "the parent process has died")


def outlive_parent() -> None:
    """Take back what `die_with_parent` asked for."""
    _check(_prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def may_mount() -> bool:
    """Tell whether this process may mount, and so give files to others, as it is."""
    with open("/proc/self/status", "rb") as file:  # noqa: PTH123 - imports nothing
        for line in file:
            if line.startswith(b"CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1)
    return False


def hide() -> None:
    """Keep other processes of the same user from tracing this one or reading its /proc entries."""
    _check(_prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")


def become(uid: int, gid: int) -> None:
    """Turn from root into an ordinary user, for good."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def join(pidfd: int) -> None:
    """Join all namespaces of a sandbox; children of this process are born in its pid namespace."""
    _check(_setns(pidfd, ALL_NAMESPACES), "setns")


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a command in a sandbox has to put on, and everything it has to give up.

    `rlimits` are pairs of a resource and its limit; `cgroup_fds` are open `cgroup.procs` files;
    `seccomp` is a compiled BPF program, or empty.
    """

    seccomp: bytes = b""
    rlimits: Sequence[tuple[int, int]] = ()
    cgroup_fds: Sequence[int] = ()
    _program: object = field(init=False, repr=False, compare=False)
    _fprog: _SockFprog = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Build the program's C form now, since `enter` runs where nothing may be loaded."""
        program = ctypes.create_string_buffer(self.seccomp, len(self.seccomp) or 1)
        length = len(self.seccomp) // _BPF_INSTRUCTION_SIZE
        object.__setattr__(self, "_program", program)
        object.__setattr__(
            self, "_fprog", _SockFprog(length, ctypes.cast(program, ctypes.c_void_p))
        )

    def enter(self) -> None:
        """Put on all but the control groups: no capability is kept, and none can be gained.

        Raises:
            OSError: a step failed; the command must then not run.
        """
        for kind, limit in self.rlimits:
            resource.setrlimit(kind, (limit, limit))
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        for capability in range(_LAST_CAPABILITY_TRIED + 1):
            if _prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
                break
        header = struct.pack("Ii", _LINUX_CAPABILITY_VERSION_3, 0)
        _check(_capset(header, bytes(24)), "capset")
        _check(_prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
        if self.seccomp:
            address = ctypes.addressof(self._fprog)
            _check(
                _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, address, 0, 0),
                "prctl(PR_SET_SECCOMP)",
            )
