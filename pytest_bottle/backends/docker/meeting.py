"""The first words of a container's first process: a channel's, or that there will be none."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pytest_bottle.backends.channel.client import HELLO_GRACE
from pytest_bottle.backends.channel.client import Channel
from pytest_bottle.backends.docker.first_process import WITHOUT_PYTHON
from pytest_bottle.backends.docker.lost import lost_sentence
from pytest_bottle.errors import LaunchError
from pytest_bottle.errors import SandboxLostError

if TYPE_CHECKING:
    from pytest_bottle.backends.docker.attach import AttachedStream
    from pytest_bottle.backends.docker.engine import Engine


def meet(engine: Engine, name: str, stream: AttachedStream) -> Channel | None:
    """Return the channel to a container that was started; None where its image has no Python.

    Raises:
        LaunchError: it ended without a word, or said something else.
    """
    alarm = threading.Timer(HELLO_GRACE, stream.close)
    alarm.daemon = True
    alarm.start()
    first = bytearray()
    while WITHOUT_PYTHON.startswith(first) and len(first) < len(WITHOUT_PYTHON):
        data = stream.read()
        if not data:
            break
        first += data
    alarm.cancel()
    if first == WITHOUT_PYTHON:
        return None
    if not first:
        words = stream.stderr.decode(errors="replace").strip()
        message = f"{lost_sentence(engine, name)}" + (f"; its last words: {words}" if words else "")
        raise LaunchError(message)
    stream.unread(bytes(first))
    channel = Channel(stream, lost=lambda: lost_sentence(engine, name))
    try:
        channel.wait_ready()
    except SandboxLostError as problem:
        channel.close()
        message = f"the container {name} ended at once: {problem}"
        raise LaunchError(message) from problem
    return channel
