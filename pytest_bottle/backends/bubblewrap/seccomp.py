"""The system calls that a command in a sandbox may not make.

A deny list after those of Flatpak and of Docker's default profile: calls that reach for the
kernel's wider attack surface and that no build, test or agent needs. It stands behind the
namespaces and the empty capability set, not in their place.
"""

from __future__ import annotations

import errno
import functools
import tempfile
from typing import Final

DENIED_CALLS: Final = (
    # modules, boot, swap, accounting, time
    *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot"),
    *("swapon", "swapoff", "acct", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex"),
    # mounts and namespaces: a sandbox's are complete
    *("mount", "umount2", "pivot_root", "chroot", "fsopen", "fsconfig", "fsmount", "fspick"),
    *("move_mount", "open_tree", "mount_setattr", "unshare", "setns"),
    # kernel interfaces with a long record of privilege escalation
    *("bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter"),
    *("io_uring_register", "add_key", "request_key", "keyctl", "kcmp", "lookup_dcookie"),
    *("open_by_handle_at", "name_to_handle_at", "quotactl", "syslog", "vhangup", "iopl", "ioperm"),
    *("nfsservctl", "personality", "fanotify_init", "migrate_pages", "move_pages"),
)
"""Answered with EPERM."""

DENIED_FAMILIES: Final = {"AF_ALG": 38, "AF_VSOCK": 40, "AF_BLUETOOTH": 31, "AF_PACKET": 17}
"""Socket families that reach past the network namespace, or whose code is rarely audited."""

_CLONE_NEW_ANYTHING: Final = 0x7E020000
_TIOCSTI: Final = 0x5412
_TIOCLINUX: Final = 0x541C


@functools.cache
def program() -> bytes:
    """Return the compiled BPF program, or nothing where libseccomp is not on this host."""
    try:
        import pyseccomp  # noqa: PLC0415 - loads a C library that may be absent
    except (ImportError, OSError, RuntimeError):
        return b""
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    refuse = pyseccomp.ERRNO(errno.EPERM)
    for call in DENIED_CALLS:
        try:
            rules.add_rule(refuse, call)
        except (OSError, ValueError):  # A call that this architecture, or libseccomp, has not.
            continue
    for bit in range(17, 32):
        flag = 1 << bit
        if flag & _CLONE_NEW_ANYTHING:
            masked = pyseccomp.Arg(0, pyseccomp.MASKED_EQ, flag, flag)
            rules.add_rule(refuse, "clone", masked)
    # Its flags are behind a pointer, which a filter cannot follow: callers fall back to clone.
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    for request in (_TIOCSTI, _TIOCLINUX):
        argument = pyseccomp.Arg(1, pyseccomp.MASKED_EQ, 0xFFFFFFFF, request)
        rules.add_rule(refuse, "ioctl", argument)
    for family in DENIED_FAMILIES.values():
        rules.add_rule(
            pyseccomp.ERRNO(errno.EAFNOSUPPORT),
            "socket",
            pyseccomp.Arg(0, pyseccomp.EQ, family),
        )
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
