"""The standard streams of the engine's program, here of a shell."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pytest_bottle.backends.channel.shell_exec import STDERR
from pytest_bottle.backends.channel.shell_exec import STDOUT
from pytest_bottle.backends.smolmachines.stream import MachineStream


@pytest.fixture
def stream_of():
    streams = []

    def start(script: str) -> MachineStream:
        stream = MachineStream(["/bin/sh", "-c", script])
        streams.append(stream)
        return stream

    yield start
    for stream in streams:
        stream.close()


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_what_is_written_comes_back(stream_of):
    stream = stream_of("cat")
    writer = threading.Thread(target=stream.write, args=(b"some" * 100_000,))
    writer.start()
    received = b""
    while len(received) < 400_000:
        received += stream.read()
    writer.join(5)
    assert received == b"some" * 100_000


def test_both_streams_are_told_apart(stream_of):
    stream = stream_of("echo out; echo err >&2")
    pieces = [stream.receive(), stream.receive()]
    assert sorted(pieces) == [(STDOUT, b"out\n"), (STDERR, b"err\n")]
    assert stream.receive() == (STDOUT, b"")
    assert stream.returncode() == 0


def test_a_channels_reader_gets_stdout_and_keeps_the_rest(stream_of):
    stream = stream_of("echo err >&2; sleep 0.2; echo out")
    assert stream.read() == b"out\n"
    assert stream.read() == b""
    assert stream.words() == "err"


def test_closing_ends_what_reads(stream_of):
    stream = stream_of("cat")
    seen = []
    reader = threading.Thread(target=lambda: seen.append(stream.read()))
    reader.start()
    stream.close()
    reader.join(5)
    assert seen == [b""]


def test_what_does_not_end_is_killed(stream_of):
    stream = stream_of("exec sleep 60")
    stream.close()
    assert stream.returncode() is None


def test_writing_to_what_was_closed_fails(stream_of):
    stream = stream_of("cat")
    stream.close()
    with pytest.raises(BrokenPipeError):
        stream.write(b"x")


def test_no_descriptor_is_left(stream_of):
    before = descriptors()
    stream = stream_of("cat")
    assert descriptors() > before
    stream.close()
    stream.close()
    assert descriptors() == before
