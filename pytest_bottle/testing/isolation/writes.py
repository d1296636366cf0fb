"""Attempts to write anything outside of the bottle."""
# ruff: noqa: S101 -- checks assert

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.testing.isolation.walled import WalledSubject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_bottle.bottle import Bottle

HOST_DIRECTORIES = ("/", "/etc", "/usr", "/usr/bin", "/usr/local/bin", "/var", "/opt", "/tmp")  # noqa: S108

KERNEL_FILES = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hostname",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/fs/file-max",
    "/proc/sysrq-trigger",
    "/proc/kcore",
    "/proc/kmsg",
    "/sys/kernel/uevent_helper",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/fs/cgroup/release_agent",
    "/dev/mem",
    "/dev/kmsg",
)


class WriteChecks(WalledSubject):
    """What the guest writes stays in the guest, and the kernel's own files stay as they are."""

    @pytest.fixture
    def directories(self, tmp_path: Path, canary: str) -> Iterator[list[Path]]:
        """Return directories of the host that this process can write to."""
        places = [Path(name) for name in HOST_DIRECTORIES] + [Path.home(), tmp_path]
        writable = [place for place in places if os.access(place, os.W_OK)]
        yield writable
        for place in writable:
            (place / canary).unlink(missing_ok=True)

    def test_new_files_do_not_appear_on_the_host(
        self, subject: Bottle, canary: str, directories: list[Path]
    ) -> None:
        """In no directory that the host itself can write to."""
        for place in directories:
            (place / canary).touch()
            (place / canary).unlink()
            subject.sh(f"mkdir -p '{place}' 2> /dev/null; echo x 2> /dev/null > '{place}/{canary}'")
        assert [place for place in directories if (place / canary).exists()] == []
        assert subject.sh(f"echo x > /tmp/{canary} && cat /tmp/{canary}").stdout == "x\n"

    def test_files_of_the_host_are_neither_changed_nor_removed(
        self, subject: Bottle, canary: str, directories: list[Path]
    ) -> None:
        """Whatever is done to a file of the same path inside."""
        for place in directories:
            path = place / canary
            path.write_text("of the host")
            subject.sh(f"echo x > '{path}'; ln -sf /dev/null '{path}'; mv '{path}' '{path}2'")
            subject.sh(f"echo x > '{path}'; rm -f '{path}'")
            assert path.read_text() == "of the host"
            assert not path.is_symlink()

    def test_programs_of_the_host_are_not_changed(self, subject: Bottle, place: str) -> None:
        """Not the shell, not the accounts; through no link and under no other name."""
        watched = [Path(os.path.realpath("/bin/sh")), Path("/etc/passwd"), Path("/etc/hosts")]
        before = [(path.stat().st_mtime_ns, path.stat().st_ino) for path in watched]
        for path in watched:
            subject.sh(
                f"ln -s '{path}' link; touch '{path}'; touch link; rm -f link; chmod u+w '{path}'",
                cwd=place,
            )
        assert [(path.stat().st_mtime_ns, path.stat().st_ino) for path in watched] == before
        subject.sh("touch file; ln -s file link; touch link", cwd=place).check()

    @pytest.mark.parametrize("path", KERNEL_FILES)
    def test_the_kernels_files_cannot_be_opened_for_writing(
        self, subject: Bottle, place: str, path: str
    ) -> None:
        """Nothing is written here: that it could be opened would be enough."""
        if self.has_own_kernel(subject):
            return
        script = '[ -e "$1" ] && : 2> /dev/null >> "$1"'
        subject.write_file(f"{place}/own", "")
        assert subject.exec(["sh", "-c", script, "sh", f"{place}/own"]).success
        assert not subject.exec(["sh", "-c", script, "sh", path]).success

    def test_the_hosts_disk_cannot_be_read_as_a_device(self, subject: Bottle, place: str) -> None:
        """No device file can be made, or none that could be opened."""
        if self.has_own_kernel(subject):
            return
        script = """
import os, stat
def attempt(kind, number, name):
    try:
        os.mknod(name, kind | 0o666, number)
        with open(name, "rb") as file:
            return len(file.read(512))
    except OSError as problem:
        return type(problem).__name__
major, minor = arguments[0]
with open("file", "wb") as file:
    file.write(bytes(512))
print(json.dumps([
    attempt(stat.S_IFBLK, os.makedev(major, minor), "disk"),
    attempt(stat.S_IFCHR, os.makedev(1, 1), "memory"),
    len(open("file", "rb").read(512)),
]))
"""
        device = Path("/").stat().st_dev
        subject.sh("mkdir -p devices", cwd=place).check()
        outcome = self.run_python(subject, script, [os.major(device), os.minor(device)])
        assert outcome == ["PermissionError", "PermissionError", 512]
        assert subject.sh("ls /dev/mem /dev/port /dev/sda /dev/vda 2> /dev/null").stdout == ""

    def test_nothing_is_mounted_and_no_namespace_is_entered(self, subject: Bottle) -> None:
        """By the system calls themselves."""
        if self.has_own_kernel(subject):
            return
        script = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x20000, 0x10000000, 0x20000000
os.makedirs("/tmp/mountpoint", exist_ok=True)
outcomes = {
    "nothing": libc.chdir(b"/"),
    "user": libc.unshare(CLONE_NEWUSER),
    "mounts": libc.unshare(CLONE_NEWNS),
    "processes": libc.unshare(CLONE_NEWPID),
    "mount": libc.mount(b"none", b"/tmp/mountpoint", b"tmpfs", 0, None),
    "remount": libc.mount(None, b"/proc/sys", None, 32 | 4096, None),
    "umount": libc.umount2(b"/proc/sys", 2),
    "chroot": libc.chroot(b"/tmp/mountpoint"),
}
print(json.dumps(outcomes))
"""
        outcomes = self.run_python(subject, script)
        assert outcomes.pop("nothing") == 0
        assert set(outcomes.values()) == {-1}
