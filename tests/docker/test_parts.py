"""The parts that need no engine: the multiplexed stream, users, and build contexts."""

from __future__ import annotations

import socket
import struct

import pytest

pytest.importorskip("docker")

from pytest_bottle.backends.channel.shell_exec import PLAIN
from pytest_bottle.backends.channel.shell_exec import STDERR
from pytest_bottle.backends.channel.shell_exec import STDOUT
from pytest_bottle.backends.docker.attach import AttachedStream
from pytest_bottle.backends.docker.image import context_digest
from pytest_bottle.backends.docker.ready import find_account

PASSWD = "root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1001::/home/node:/bin/sh\n"
GROUP = "root:x:0:\nstaff:x:50:\n"


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    stream = AttachedStream(ours)
    yield stream, theirs
    stream.close()
    theirs.close()


def frame(kind: int, data: bytes) -> bytes:
    return struct.pack("!BxxxI", kind, len(data)) + data


def test_frames_are_told_apart_however_they_are_cut(ends):
    stream, theirs = ends
    for byte in frame(STDOUT, b"out") + frame(STDERR, b"err"):
        theirs.sendall(bytes([byte]))
    theirs.close()
    assert [stream.receive() for _ in range(3)] == [
        (STDOUT, b"out"),
        (STDERR, b"err"),
        (STDOUT, b""),
    ]


def test_a_channel_reads_stdout_and_stderr_is_kept_for_explanations(ends):
    stream, theirs = ends
    theirs.sendall(frame(STDERR, b"warning") + frame(STDOUT, b"") + frame(STDOUT, b"frames"))
    assert stream.read() == b"frames"
    assert stream.stderr == b"warning"


def test_words_without_a_frame_are_the_engines_own(ends):
    stream, theirs = ends
    theirs.sendall(b"unable to start")
    assert stream.receive() == (PLAIN, b"unable to start")


def test_what_was_read_can_be_given_back(ends):
    stream, theirs = ends
    theirs.sendall(frame(STDOUT, b"later"))
    stream.unread(b"first")
    assert [stream.read(), stream.read()] == [b"first", b"later"]


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("node", ("node", 1000, 1001, "/home/node")),
        ("1000", ("node", 1000, 1001, "/home/node")),
        ("node:staff", ("node", 1000, 50, "/home/node")),
        ("node:7", ("node", 1000, 7, "/home/node")),
        ("4321", ("4321", 4321, 0, "/")),
    ],
)
def test_a_user_is_resolved_as_the_engine_does(user, expected):
    account = find_account(user, PASSWD, GROUP)
    assert account is not None
    assert (account.name, account.uid, account.gid, account.home) == expected


@pytest.mark.parametrize("user", ["mallory", "node:nobodies"])
def test_an_unknown_name_is_nobody(user):
    assert find_account(user, PASSWD, GROUP) is None


def test_an_image_without_accounts_has_root():
    account = find_account("0", "", "")
    assert account is not None
    assert (account.name, account.home) == ("root", "/root")


@pytest.fixture
def dockerfile(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (tmp_path / ".dockerignore").write_text("*.log\n")
    (tmp_path / "app.py").write_text("1")
    return tmp_path / "Dockerfile"


def test_a_changed_context_is_another_image(dockerfile):
    before = context_digest(dockerfile, ())
    (dockerfile.parent / "app.py").write_text("2")
    assert context_digest(dockerfile, ()) != before


def test_changed_build_arguments_are_another_image(dockerfile):
    assert context_digest(dockerfile, (("A", "1"),)) != context_digest(dockerfile, (("A", "2"),))


def test_ignored_files_change_nothing(dockerfile):
    before = context_digest(dockerfile, ())
    (dockerfile.parent / "debug.log").write_text("noise")
    assert context_digest(dockerfile, ()) == before
