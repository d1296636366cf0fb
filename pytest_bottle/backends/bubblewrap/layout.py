"""What a sandbox's file system is made of, as bwrap's arguments.

Two layouts. *Host*: the host's programs (`/usr` and what links into it) read-only, and of `/etc`
only what programs need to run; everything else is private. *Image*: the directories of a root file
system, each under an overlay of its own, so that the image is never written. In both, home,
`/tmp`, the working directory and the rest of `/` live on one private tmpfs with the disk limit.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Final

if TYPE_CHECKING:
    from collections.abc import Iterable

GUEST_UID: Final = 1000
GUEST_USER: Final = "bottle"
GUEST_HOME: Final = f"/home/{GUEST_USER}"
DEFAULT_DISK: Final = 1024**3
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_HOST_TREES: Final = ("bin", "lib", "lib32", "lib64", "libx32", "sbin", "usr")
"""Top-level names with programs: directories, or links into /usr on a merged system."""

_HOST_ETC: Final = (
    *("alternatives", "ld.so.cache", "localtime", "os-release", "alpine-release"),
    *("ssl/certs", "ssl/openssl.cnf", "pki", "crypto-policies"),
    *("mime.types", "protocols", "services"),
)
"""What programs read to run. The rest of /etc may hold what a guest must not see, and each entry
is a mount, at more than a tenth of a millisecond for every sandbox."""

_PRIVATE: Final = frozenset({"dev", "home", "lost+found", "proc", "root", "run", "sys", "tmp"})
"""Top-level names of an image that are replaced by private ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who commands run as, as the guest sees it."""

    name: str = GUEST_USER
    uid: int = GUEST_UID
    gid: int = GUEST_UID
    home: str = GUEST_HOME


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """bwrap's arguments; `{fd:N}` stands for a descriptor from which the Nth text is read."""

    arguments: tuple[str, ...]
    files: tuple[str, ...]


def image_account(image: Path, user: str | None) -> Account | None:
    """Return an account of an image's passwd file: the one asked for, else uid 1000, else root.

    None where the one that was asked for is not there.
    """
    accounts: dict[str, Account] = {}
    try:
        lines = (image / "etc/passwd").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        fields = line.split(":")
        if len(fields) >= 6 and fields[2].isdigit() and fields[3].isdigit():  # noqa: PLR2004
            account = Account(
                name=fields[0], uid=int(fields[2]), gid=int(fields[3]), home=fields[5] or "/"
            )
            accounts.setdefault(account.name, account)
            accounts.setdefault(str(account.uid), account)
    if user is not None:
        return accounts.get(user)
    root = Account(name="root", uid=0, gid=0, home="/root")
    return accounts.get(str(GUEST_UID), accounts.get("0", root))


def lay_out(
    *, account: Account, hostname: str, workdir: str, disk: int | None, image: Path | None
) -> Layout:
    """Return the arguments for one sandbox. `disk` is in bytes."""
    size = str(disk or DEFAULT_DISK)
    files: list[str] = []
    if image is None:
        trees, files = _host_trees(account, hostname)
    else:
        trees = _image_trees(image)
    private = [account.home, workdir, "/run", "/var/tmp"]  # noqa: S108 - in the guest
    arguments = [
        *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net"),
        *("--unshare-cgroup-try", "--disable-userns", "--die-with-parent", "--as-pid-1"),
        *("--uid", str(account.uid), "--gid", str(account.gid), "--hostname", hostname),
        *("--clearenv", "--setenv", "PATH", DEFAULT_PATH),
        *("--size", size, "--tmpfs", "/"),
        *trees,
        *("--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"),
        *("--dev", "/dev", "--size", size, "--tmpfs", "/dev/shm", "--remount-ro", "/dev"),  # noqa: S108
        *("--perms", "1777", "--dir", "/tmp"),  # noqa: S108 - in the guest
        *_directories(private),
        *("--chdir", "/"),
    ]
    return Layout(arguments=tuple(arguments), files=tuple(files))


def _directories(paths: Iterable[str]) -> list[str]:
    return [word for path in paths for word in ("--dir", path)]


def _host_trees(account: Account, hostname: str) -> tuple[list[str], list[str]]:
    """Return the arguments for the host's programs, and the texts of the /etc made for them."""
    arguments: list[str] = []
    for name in _HOST_TREES:
        path = Path("/") / name
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            arguments += ["--ro-bind", str(path), str(path)]
    for name in _HOST_ETC:
        path = Path("/etc") / name
        if path.is_symlink() and not path.resolve().is_relative_to("/etc"):
            arguments += ["--symlink", str(path.readlink()), str(path)]
        elif path.exists() and os.access(path, os.R_OK):
            arguments += ["--ro-bind", str(path), str(path)]
    texts = {
        "/etc/passwd": f"root:x:0:0:root:/root:/bin/sh\n{account.name}:x:{account.uid}:"
        f"{account.gid}::{account.home}:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        "/etc/group": f"root:x:0:\n{account.name}:x:{account.gid}:\nnogroup:x:65534:\n",
        "/etc/hosts": f"127.0.0.1 localhost {hostname}\n::1 localhost\n",
        "/etc/hostname": f"{hostname}\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
        "/etc/resolv.conf": "",
    }
    for number, path_name in enumerate(texts):
        arguments += ["--perms", "0644", "--file", f"{{fd:{number}}}", path_name]
    return arguments, list(texts.values())


def _image_trees(image: Path) -> list[str]:
    """Return the arguments for an image's directories, each under an overlay."""
    arguments: list[str] = []
    for entry in sorted(image.iterdir()):
        target = f"/{entry.name}"
        mode = entry.lstat().st_mode
        if entry.name in _PRIVATE:
            continue
        if stat.S_ISLNK(mode):
            arguments += ["--symlink", str(entry.readlink()), target]
        elif stat.S_ISDIR(mode):
            arguments += ["--overlay-src", str(entry), "--tmp-overlay", target]
    return arguments
