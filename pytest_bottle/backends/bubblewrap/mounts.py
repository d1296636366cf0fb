"""The mount system calls by which a sandbox's file system is laid out before bwrap starts.

Linux only, through the C library. All of them act on the calling process's own mount namespace.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from typing import TYPE_CHECKING
from typing import Final

if TYPE_CHECKING:
    from collections.abc import Sequence

CLONE_VM: Final = 0x00000100
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUSER: Final = 0x10000000

# The same on every machine: calls this new have one table.
_SYS_OPEN_TREE: Final = 428
_SYS_MOVE_MOUNT: Final = 429
_SYS_MOUNT_SETATTR: Final = 442

_MS_NOSUID: Final = 2
_MS_NODEV: Final = 4
_MS_REC: Final = 1 << 14
_MS_PRIVATE: Final = 1 << 18
_OPEN_TREE_CLONE: Final = 1
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4
_AT_FDCWD: Final = -100
_AT_EMPTY_PATH: Final = 0x1000
_MOUNT_ATTR_RDONLY: Final = 1
_MOUNT_ATTR_NOSUID: Final = 2
_MOUNT_ATTR_NODEV: Final = 4
_MOUNT_ATTR_IDMAP: Final = 0x0010_0000

_PR_SET_DUMPABLE: Final = 4

_STACK: Final = 64 * 1024
_WAITING: Final = 5
"""Seconds that a process which only waits lives at most, should its parent be killed."""

_libc = ctypes.CDLL(None, use_errno=True)
_mount = _libc.mount
_mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p]
_mount.argtypes += [ctypes.c_ulong, ctypes.c_char_p]
_prctl = _libc.prctl
_prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]
_unshare = _libc.unshare
_unshare.argtypes = [ctypes.c_int]
_clone = _libc.clone
_clone.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
_sleep: Final = ctypes.cast(_libc.sleep, ctypes.c_void_p)
# A function of its own for each call, as `[...]` returns it, since their arguments differ.
_open_tree = _libc["syscall"]
_open_tree.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
_move_mount = _libc["syscall"]
_move_mount.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p]
_move_mount.argtypes += [ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
_mount_setattr = _libc["syscall"]
_mount_setattr.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
_mount_setattr.argtypes += [ctypes.c_char_p, ctypes.c_size_t]


def _check(result: int, call: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")
    return result


def unshare_mounts() -> None:
    """Give this process a mount namespace of its own, from which nothing spreads."""
    _check(_unshare(CLONE_NEWNS), "unshare")
    _check(_mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "mount(MS_PRIVATE)")


def unshare_user_and_mounts() -> None:
    """Do so as an ordinary user, who needs a user namespace to mount anything."""
    uid, gid = os.getuid(), os.getgid()
    # For a process that was root, which otherwise could not write its own maps.
    _check(_prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")
    _check(_unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid} {uid} 1")
    _write("/proc/self/gid_map", f"{gid} {gid} 1")
    _check(_mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "mount(MS_PRIVATE)")


def mount_tmpfs(target: str, *, size: int, uid: int, gid: int) -> None:
    """Mount a private file system in memory, of a size in bytes."""
    options = f"size={size},mode=755,uid={uid},gid={gid}".encode()
    flags = _MS_NOSUID | _MS_NODEV
    _check(_mount(b"tmpfs", target.encode(), b"tmpfs", flags, options), "mount(tmpfs)")


def clone_tree(source: str) -> int:
    """Return a descriptor of a mount of a directory, without what is mounted below it."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC
    tree = _open_tree(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(source), flags)
    return _check(tree, "open_tree")


def restrict(tree: int, user_namespace: int | None) -> None:
    """Make a cloned mount read-only, without devices and set-uid programs.

    Args:
        tree: The mount's descriptor.
        user_namespace: Its files get the owners that this namespace makes of their ids.

    Raises:
        OSError: the file system or the kernel cannot.
    """
    attributes = _MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV
    if user_namespace is not None:
        attributes |= _MOUNT_ATTR_IDMAP
    # struct mount_attr: what to set, what to clear, the propagation, the user namespace.
    data = struct.pack("=QQQQ", attributes, 0, 0, user_namespace or 0)
    result = _mount_setattr(_SYS_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, data, len(data))
    _check(result, "mount_setattr")


def attach(tree: int, target: str) -> None:
    """Mount a cloned tree, and close it."""
    path = os.fsencode(target)
    result = _move_mount(_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, path, _MOVE_MOUNT_F_EMPTY_PATH)
    _check(result, "move_mount")
    os.close(tree)


def user_namespace(
    uids: Sequence[tuple[int, int, int]], gids: Sequence[tuple[int, int, int]]
) -> int:
    """Return a descriptor of a new user namespace, in which no process is.

    Args:
        uids: Its map: first id inside, first id outside, how many.
        gids: The same for groups.

    Raises:
        OSError: this process may not make it.
    """
    # A user namespace is made with a process. This one runs nothing but the C library's `sleep`, on
    # a stack of its own in this memory: a fork would take ten times as long.
    stack = ctypes.create_string_buffer(_STACK)
    top = (ctypes.addressof(stack) + _STACK) & ~15
    flags = CLONE_VM | CLONE_NEWUSER | signal.SIGCHLD
    pid = _check(_clone(_sleep, top, flags, _WAITING), "clone")
    try:
        for name, extents in (("uid_map", uids), ("gid_map", gids)):
            lines = "\n".join(" ".join(map(str, extent)) for extent in extents)
            _write(f"/proc/{pid}/{name}", lines)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
