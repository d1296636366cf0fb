"""Attempts to gain powers over the kernel."""
# ruff: noqa: S101 -- checks assert

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bottle.testing.isolation.walled import WalledSubject

if TYPE_CHECKING:
    from pytest_bottle.bottle import Bottle


def status(text: str) -> dict[str, str]:
    """Return the fields of a process's status file."""
    lines = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in lines}


class PowerChecks(WalledSubject):
    """A command has no capability, cannot gain one, and may not make every system call.

    On a kernel of the guest's own that is for the guest to say.
    """

    def test_a_command_has_no_capability(self, subject: Bottle) -> None:
        """Neither in effect, nor permitted, nor to be inherited."""
        if self.has_own_kernel(subject):
            return
        fields = status(subject.exec(["cat", "/proc/self/status"]).stdout)
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(fields[name], 16) == 0, name

    def test_no_program_gives_new_privileges(self, subject: Bottle) -> None:
        """Set-uid ones run as the user that starts them."""
        if self.has_own_kernel(subject):
            return
        fields = status(subject.exec(["cat", "/proc/self/status"]).stdout)
        assert fields["NoNewPrivs"] == "1"

    def test_set_uid_programs_are_useless(self, subject: Bottle) -> None:
        """Each that the guest has keeps the capabilities of its caller: none."""
        if self.has_own_kernel(subject):
            return
        script = """
import os, stat, subprocess
found = []
for folder in ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin"):
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        mode = os.stat(path).st_mode if os.path.exists(path) else 0
        if mode & stat.S_ISUID and stat.S_ISREG(mode):
            found.append(path)
outcomes = {}
for path in set(map(os.path.realpath, found)):
    child = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    with open("/proc/%d/status" % child.pid) as file:
        fields = dict(line.split(":", 1) for line in file)
    outcomes[path] = [int(fields["CapEff"], 16), len(set(fields["Uid"].split()))]
    child.kill()
    child.communicate()
print(json.dumps(outcomes))
"""
        for path, (capabilities, users) in self.run_python(subject, script).items():
            assert (capabilities, users) == (0, 1), path

    def test_becoming_another_user_is_refused(self, subject: Bottle) -> None:
        """By the system calls themselves; becoming oneself is not."""
        if self.has_own_kernel(subject):
            return
        script = """
import os
def attempt(call, *numbers):
    try:
        call(*numbers)
    except OSError as problem:
        return type(problem).__name__
    return "done"
own = os.getuid()
print(json.dumps([
    attempt(os.setuid, own),
    attempt(os.setuid, own + 1),
    attempt(os.setgid, os.getgid() + 1),
    attempt(os.setgroups, [own + 1]),
]))
"""
        own, *others = self.run_python(subject, script)
        assert own == "done"
        assert set(others) <= {"PermissionError", "OSError"}

    def test_a_filter_of_system_calls_is_active_where_promised(self, subject: Bottle) -> None:
        """Mode 2 is a filter; keys and performance counters are the kernel's."""
        if self.has_own_kernel(subject):
            return
        fields = status(subject.exec(["cat", "/proc/self/status"]).stdout)
        assert fields["Seccomp"] == ("2" if self.seccomp else "0")
        if not self.seccomp:
            return
        script = """
import ctypes, platform
libc = ctypes.CDLL(None, use_errno=True)
numbers = {"x86_64": (250, 321, 246), "aarch64": (219, 280, 104)}[platform.machine()]
print(json.dumps([libc.syscall(n, 0, 0, 0, 0, 0) for n in numbers] + [libc.getpid() > 0]))
"""
        keyctl, bpf, kexec, works = self.run_python(subject, script)
        assert works
        assert (keyctl, bpf, kexec) == (-1, -1, -1)
