"""System calls that a command in a sandbox may not make, made in a real one; and those it may."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pytest_bottle.backends.bubblewrap import seccomp

pytestmark = [
    pytest.mark.bottle_requires("bubblewrap"),
    pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="no /usr/bin/python3"),
]

CALL = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(name, *arguments):
    numbers = {numbers}
    result = libc.syscall(numbers[name], *arguments)
    print(name, result, ctypes.get_errno() if result < 0 else 0)
"""
X86_64 = {
    "mount": 165,
    "umount2": 166,
    "pivot_root": 155,
    "chroot": 161,
    "unshare": 272,
    "setns": 308,
    "keyctl": 250,
    "add_key": 248,
    "bpf": 321,
    "perf_event_open": 298,
    "userfaultfd": 323,
    "io_uring_setup": 425,
    "open_tree": 428,
    "fsopen": 430,
    "clone3": 435,
    "syslog": 103,
    "kexec_load": 246,
    "init_module": 175,
    "clock_settime": 227,
    "reboot": 169,
}


@pytest.fixture(autouse=True)
def _with_a_filter():
    if not seccomp.program():
        pytest.skip("libseccomp is not on this host")


def test_the_program_is_whole_instructions():
    assert seccomp.program()
    assert len(seccomp.program()) % 8 == 0


def test_every_process_of_the_guest_is_under_the_filter(box):
    """Also the first one, and none can gain privileges."""
    for pid in ("self", "1"):
        status = box.exec("cat", f"/proc/{pid}/status").stdout
        assert "\nSeccomp:\t2\n" in status
        assert "\nNoNewPrivs:\t1\n" in status


def test_denied_calls_are_answered_with_eperm(box):
    """Whatever their arguments: the filter comes before the kernel looks at them."""
    if box.exec("uname", "-m").stdout != "x86_64\n":
        pytest.skip("call numbers of x86_64")
    lines = "\n".join(f"call({name!r}, 0, 0, 0, 0, 0)" for name in X86_64)
    result = box.python(CALL.replace("{numbers}", repr(X86_64)) + lines).check()
    answers = dict(line.split(" ", 1) for line in result.stdout.splitlines())
    assert answers.pop("clone3") == f"-1 {errno.ENOSYS}"
    assert answers == dict.fromkeys(answers, f"-1 {errno.EPERM}")
    assert set(answers) == set(X86_64) - {"clone3"}


@pytest.mark.parametrize("family", list(seccomp.DENIED_FAMILIES))
def test_odd_socket_families_are_answered_as_unsupported(box, family):
    number = seccomp.DENIED_FAMILIES[family]
    result = box.python(f"import socket; socket.socket({number}, socket.SOCK_SEQPACKET)")
    assert f"[Errno {errno.EAFNOSUPPORT}]" in result.stderr


@pytest.mark.parametrize("flag", [0x10000000, 0x20000, 0x40000000, 0x20000000, 0x2000000])
def test_no_namespace_is_made_by_clone(box, flag):
    """User, mount, network, pid and control group namespaces."""
    if box.exec("uname", "-m").stdout != "x86_64\n":
        pytest.skip("call numbers of x86_64")
    script = CALL.replace("{numbers}", "{'clone': 56}") + f"call('clone', {flag} | 17, 0, 0, 0, 0)"
    assert box.python(script).stdout == f"clone -1 {errno.EPERM}\n"


def test_no_namespace_is_made_by_a_program(box):
    assert "Operation not permitted" in box.exec("unshare", "-Ur", "true").stderr


def test_no_input_is_put_into_a_terminal(box):
    """TIOCSTI, with which a command would type into the shell of whoever looks at it."""
    for request in (0x5412, 0x5412 | 1 << 32):
        script = f"import os, fcntl; fcntl.ioctl(os.openpty()[1], {request}, b'x')"
        result = box.python(script)
        assert not result.success
        assert "Operation not permitted" in result.stderr or "OverflowError" in result.stderr


def test_ordinary_work_goes_on(box):
    """Processes, threads, pipes, sockets, events, shared memory, watches, timers, terminals."""
    script = """
import asyncio, multiprocessing, os, socket, subprocess, threading, mmap, tempfile, signal, pty
threads = [threading.Thread(target=lambda: None) for _ in range(10)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
assert subprocess.run(["sh", "-c", "echo x | cat"], capture_output=True).stdout == b"x\\n"
for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
    socket.socket(family).close()
server = socket.create_server(("127.0.0.1", 0)); socket.create_connection(server.getsockname())
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
assert asyncio.run(asyncio.sleep(0, 1)) == 1
with multiprocessing.Pool(2) as pool: assert pool.map(abs, [-1, 1]) == [1, 1]
mmap.mmap(-1, 4096); os.memfd_create("x"); os.openpty(); signal.setitimer(signal.ITIMER_REAL, 0)
print("done")
"""
    result = box.python(script)
    assert (result.stdout, result.stderr) == ("done\n", "")
