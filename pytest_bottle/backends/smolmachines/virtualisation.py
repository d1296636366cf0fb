"""Whether this host can run guests of its own, as far as can be seen without starting one."""

from __future__ import annotations

import os
import platform
import stat
from pathlib import Path
from typing import Final

from pytest_bottle import process
from pytest_bottle.backends.base import Probe

_KVM: Final = Path("/dev/kvm")
_CPUINFO: Final = Path("/proc/cpuinfo")
_FLAGS: Final = frozenset({"vmx", "svm"})
_NESTED: Final = (
    "use a host with hardware virtualisation; where it is a virtual machine itself, enable nested "
    "virtualisation for it (a PVM host has none to give)"
)
_ENGINE_USERS: Final = 2_000_000
"""The first of the uids that the engine becomes before a guest boots, where root starts it."""


def probe_kvm() -> Probe:
    """Look at /dev/kvm, and at what the CPU says of itself."""
    if not _KVM.exists():
        return Probe(ok=False, detail=f"there is no {_KVM}", fix=_NESTED)
    try:
        os.close(os.open(_KVM, os.O_RDWR | os.O_CLOEXEC))
    except OSError as problem:
        return Probe(
            ok=False,
            detail=f"{_KVM}: {problem.strerror}",
            fix="add this user to the group kvm (`usermod -aG kvm USER`) and log in again",
        )
    if platform.machine() == "x86_64":
        flags = set(_CPUINFO.read_text(errors="replace").split())
        if not flags & _FLAGS:
            return Probe(
                ok=False,
                detail=f"{_KVM} opens, but the CPU shows neither vmx nor svm: no guest would boot",
                fix=_NESTED,
            )
    return Probe(ok=True, detail=f"{_KVM} opens")


def probe_virtualisation() -> Probe:
    """Look at what the engine needs: KVM on Linux, Hypervisor.framework on macOS."""
    system = platform.system()
    if system == "Linux":
        return _engine_opens(probe_kvm())
    if system == "Darwin":
        return probe_hypervisor_framework()
    return Probe(
        ok=False,
        detail=f"the engine does not run on {system}",
        fix="use Linux, or macOS on Apple silicon",
    )


def probe_hypervisor_framework() -> Probe:
    """Ask macOS whether it lets programs run guests, which it does on Apple silicon."""
    if platform.machine() != "arm64":
        return Probe(
            ok=False,
            detail=f"the engine's macOS needs Apple silicon, and this is {platform.machine()}",
            fix="use a Mac with Apple silicon, and a Python for arm64 (not under Rosetta)",
        )
    try:
        done = process.run(["/usr/sbin/sysctl", "-n", "kern.hv_support"], timeout=10)
    except (OSError, TimeoutError) as problem:
        return Probe(ok=False, detail=f"sysctl kern.hv_support: {problem}", fix="see `sysctl -a`")
    if done.stdout.strip() != b"1":
        return Probe(
            ok=False,
            detail="kern.hv_support is not 1: Hypervisor.framework is not to be had",
            fix="run it on the Mac itself, or in a virtual machine with nested virtualisation",
        )
    return Probe(ok=True, detail="Hypervisor.framework is there")


def _engine_opens(found: Probe) -> Probe:
    """Say so where root opens the device, and the engine, which is no longer root, would not."""
    if not found.ok or os.geteuid() != 0:
        return found
    if _KVM.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):  # It keeps the device's group.
        return found
    return Probe(
        ok=False,
        detail=f"{_KVM} is open to root alone, and the engine becomes a user above "
        f"{_ENGINE_USERS} where root starts it",
        fix=f"`chgrp kvm {_KVM} && chmod 0660 {_KVM}`, or run the tests as an ordinary user of "
        "the group kvm",
    )
