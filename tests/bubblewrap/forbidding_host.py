"""A program: a host that forbids user namespaces, as far as a sandbox can see, and a user on it.

    python forbidding_host.py limit|filter UID ARGUMENT...

Root makes a user namespace that has all users, takes from it what sandboxes are made of, becomes
the user, and turns into a Python with those arguments. The real host is not touched.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
ALL_USERS = "0 0 2000000000"

_libc = ctypes.CDLL(None, use_errno=True)


def unshare_user() -> int:
    """Enter a new user namespace; return 0 or the error's number."""
    return 0 if _libc.unshare(CLONE_NEWUSER) == 0 else ctypes.get_errno()


def forbid_by_limit() -> int:
    """Allow no more user namespaces in this one, whose limit is its own."""
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    return errno.ENOSPC


def forbid_by_filter() -> int:
    """Refuse them as `kernel.unprivileged_userns_clone=0` and engines' default filters do."""
    clone, unshare = {"x86_64": (56, 272), "aarch64": (220, 97)}[os.uname().machine]
    clone3 = 435
    allow, refuse = 0x7FFF0000, 0x00050000
    load, jump_if_equal, jump_if_set, answer = 0x20, 0x15, 0x45, 0x06
    instructions = [
        (load, 0, 0, 0),  # The call's number.
        (jump_if_equal, 4, 0, clone3),
        (jump_if_equal, 1, 0, clone),
        (jump_if_equal, 0, 3, unshare),
        (load, 0, 0, 16),  # The low half of its first argument: its flags.
        (jump_if_set, 2, 1, CLONE_NEWUSER),
        (answer, 0, 0, refuse | errno.ENOSYS),  # So that the C library takes clone.
        (answer, 0, 0, allow),
        (answer, 0, 0, refuse | errno.EPERM),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in instructions))
    program = struct.pack("@HP", len(instructions), ctypes.addressof(code))
    pr_set_seccomp, pr_set_no_new_privs, mode_filter = 22, 38, 2
    for arguments in ((pr_set_no_new_privs, 1, 0, 0, 0), (pr_set_seccomp, mode_filter, program)):
        if _libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    return errno.EPERM


def live_on_it(forbid: str, uid: int, arguments: list[str]) -> None:
    """Forbid user namespaces, become the user, and turn into its Python."""
    expected = {"limit": forbid_by_limit, "filter": forbid_by_filter}[forbid]()
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    seen = unshare_user()
    if seen != expected:
        sys.exit(f"the host does not forbid user namespaces with {expected}, but answers {seen}")
    os.execv(sys.executable, [sys.executable, *arguments])


def main() -> int:
    """See the module; the status is the Python's."""
    forbid, uid, *arguments = sys.argv[1:]
    unshared, may_go_on = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        if problem := unshare_user():
            sys.exit(f"no user namespace for the host: {os.strerror(problem)}")
        os.write(unshared[1], b"!")
        os.read(may_go_on[0], 1)
        live_on_it(forbid, int(uid), arguments)
    os.close(unshared[1])
    if os.read(unshared[0], 1):
        for ids in ("uid_map", "gid_map"):
            Path(f"/proc/{child}/{ids}").write_text(ALL_USERS)
    os.write(may_go_on[1], b"!")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
