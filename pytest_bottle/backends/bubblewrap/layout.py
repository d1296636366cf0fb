"""What a sandbox's file system is made of, as bwrap's arguments and what is staged for them.

Two layouts. *Host*: the host's programs (`/usr` and what links into it), and of `/etc` only what
programs need to run. *Image*: the directories of a root file system. In both, each of these trees
lies under an overlay, so that it is never written, and the rest of `/` is private. What is written
anywhere goes to one private tmpfs with the disk limit.

Where overlays cannot be staged, the host's trees are read-only, and an image's overlays write to
memory that only the sandbox's own limit bounds.
"""

from __future__ import annotations

import functools
import os
import re
import stat
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.backends.bubblewrap import staging

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Sequence

GUEST_UID: Final = 1000
GUEST_USER: Final = "bottle"
GUEST_HOME: Final = f"/home/{GUEST_USER}"
DEFAULT_DISK: Final = 1024**3
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_HOST_TREES: Final = ("bin", "lib", "lib32", "lib64", "libx32", "sbin", "usr")
"""Top-level names with programs: directories, or links into /usr on a merged system."""

_SITE: Final = "usr/local"
"""Where a host's owner keeps what is not its distribution's. What they closed to others there stays
closed to the guest, who is given no more than some directories to write in."""

_OPENED: Final = ("/usr", f"/{_SITE}")
"""Trees of which the directories just below the top are the guest's own, if its files are not."""

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
    stage: dict[str, Any] | None
    """What `staging` makes before bwrap starts; its functions list the keys."""


@dataclass(slots=True)
class _Trees:
    """Directories of the host that a sandbox shows, each under an overlay or read-only."""

    staged: bool
    root: bool
    mountpoints: Sequence[str]
    trees: list[dict[str, Any]] = field(default_factory=list)
    copies: list[tuple[str, str]] = field(default_factory=list)

    def show(self, source: Path, target: str, *, give: bool) -> list[str]:
        """Return the arguments for one.

        Its owner's files become the sandbox's user's with `give`, where root starts the sandbox.
        """
        # No overlay is made of a tree with mounts in it, and without them it would show what they
        # cover.
        if not self.staged or mounts_below(source, self.mountpoints):
            return ["--ro-bind", str(source), target]
        give = give and self.root
        below, upper, work = staging.place(len(self.trees))
        owner = source.stat() if give else None
        self.trees.append(
            {
                "source": str(source),
                "target": target,
                "owner": (owner.st_uid, owner.st_gid) if owner else None,
                "directories": _open_directories(source, target),
            }
        )
        lower = below if give else str(source)
        return ["--overlay-src", lower, "--overlay", upper, work, target]

    def copy(self, source: Path) -> list[str]:
        """Return the arguments for a file of the host's at the same path."""
        if not self.staged:
            return ["--ro-bind", str(source), str(source)]
        self.copies.append((str(source), str(source)))
        return []


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


def mountpoints() -> list[str]:
    """Return where something is mounted on this host."""
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    escaped = [os.fsdecode(line.split(b" ", 5)[4]) for line in lines]
    return [
        re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), path) if "\\" in path else path
        for path in escaped
    ]


def mounts_below(directory: str | Path, mounted: Iterable[str]) -> list[str]:
    """Return which of the mountpoints are in a directory."""
    start = f"{os.path.realpath(directory)}/"
    return [path for path in mounted if path.startswith(start)]


def lay_out(
    *,
    account: Account,
    hostname: str,
    workdir: str,
    disk: int | None,
    image: Path | None,
    staged: bool,
) -> Layout:
    """Return the arguments for one sandbox.

    Args:
        account: Who its commands run as.
        hostname: Its name.
        workdir: Its working directory.
        disk: What it may write, in bytes.
        image: The directory of its root file system; None is the host's programs.
        staged: Whether this host stages overlays.
    """
    size = str(disk or DEFAULT_DISK)
    files: list[str] = []
    shown = _Trees(staged, os.getuid() == 0, mountpoints() if staged else ())
    if image is None:
        trees, files = _host_trees(account, hostname, shown)
    else:
        trees = _image_trees(image, shown)
    private = [account.home, workdir, "/run", "/var/tmp"]  # noqa: S108 - in the guest
    arguments = [
        *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net"),
        *("--unshare-cgroup-try", "--disable-userns", "--die-with-parent", "--as-pid-1"),
        *("--uid", str(account.uid), "--gid", str(account.gid), "--hostname", hostname),
        *("--clearenv", "--setenv", "PATH", DEFAULT_PATH),
        *(("--bind", staging.ROOT, "/") if staged else ("--size", size, "--tmpfs", "/")),
        *trees,
        *("--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"),
        *("--dev", "/dev", "--size", size, "--tmpfs", "/dev/shm", "--remount-ro", "/dev"),  # noqa: S108
        *("--perms", "1777", "--dir", "/tmp"),  # noqa: S108 - in the guest
        *_directories(private),
        *("--chdir", "/"),
    ]
    stage = {"size": int(size), "trees": shown.trees, "copies": shown.copies} if staged else None
    return Layout(arguments=tuple(arguments), files=tuple(files), stage=stage)


def _directories(paths: Iterable[str]) -> list[str]:
    return [word for path in paths for word in ("--dir", path)]


@functools.cache
def _open_directories(tree: Path, target: str) -> tuple[str, ...]:
    """Return which of a tree's directories the guest gets, where it is not given the whole."""
    if target not in _OPENED:
        return ()
    return tuple(
        entry.name
        for entry in os.scandir(tree)
        if entry.is_dir(follow_symlinks=False) and entry.stat().st_mode & 0o005 == 0o005  # noqa: PLR2004
    )


def _host_trees(account: Account, hostname: str, shown: _Trees) -> tuple[list[str], list[str]]:
    """Return the arguments for the host's programs, and the texts of the /etc made for them."""
    arguments: list[str] = []
    for name in _HOST_TREES:
        path = Path("/") / name
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            # Not given away: what root closed to others there must stay closed to the guest.
            arguments += shown.show(path, str(path), give=False)
    site = Path("/") / _SITE
    if shown.staged and site.is_dir() and not site.is_symlink():
        arguments += shown.show(site, str(site), give=False)
    for name in _HOST_ETC:
        path = Path("/etc") / name
        if path.is_symlink() and not path.resolve().is_relative_to("/etc"):
            arguments += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir() and os.access(path, os.R_OK):
            arguments += shown.show(path, str(path), give=False)
        elif path.exists() and os.access(path, os.R_OK):
            arguments += shown.copy(path)
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


def _image_trees(image: Path, shown: _Trees) -> list[str]:
    """Return the arguments for an image's directories, each under an overlay."""
    arguments: list[str] = []
    for entry in image_entries(image):
        target = f"/{entry.name}"
        mode = entry.lstat().st_mode
        if stat.S_ISLNK(mode):
            arguments += ["--symlink", str(entry.readlink()), target]
        elif stat.S_ISDIR(mode) and shown.staged:
            arguments += shown.show(entry, target, give=True)
        elif stat.S_ISDIR(mode):
            arguments += ["--overlay-src", str(entry), "--tmp-overlay", target]
    return arguments


def image_entries(image: Path) -> list[Path]:
    """Return what is shown of an image's top level."""
    return [entry for entry in sorted(image.iterdir()) if entry.name not in _PRIVATE]
