"""The process that is a run's door: serves until the run or its controller ends, then goes."""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_bottle.errors import RunEndedError
from pytest_bottle.gateway import control
from pytest_bottle.gateway.starting import publish_door
from pytest_bottle.gateway.starting import read_door
from pytest_bottle.state.journal import Journal
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.run import has_ended
from pytest_bottle.state.run import read_controller

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from collections.abc import Sequence

LOOK_EVERY = 0.1
"""Seconds between two looks whether the run has ended; its controller's death is heard of."""

END_DEADLINE = 0.7
"""Seconds from the end of the run until this process has ended, whatever it is at."""


def main(argv: Sequence[str]) -> int:
    """Serve a run.

    Args:
        argv: the run's directory, and the number of the descriptor to write `ready` to.

    Returns:
        0 where the run has ended, 1 where the door cannot be opened.
    """
    directory, ready = Path(argv[0]), int(argv[1])
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    try:
        controller = read_controller(directory).handle()
        # By its journal the watchdog knows it, and kills it should it not end by itself.
        journal = Journal(directory, "door")
    except (FileNotFoundError, RunEndedError):
        return 0
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    listener = control.listen(directory)
    publish_door(directory)
    with suppress(BrokenPipeError):  # Whoever started it was killed; the others need it.
        os.write(ready, b"ready\n")
    os.close(ready)
    watch = _Watch(directory, controller)
    try:
        _serve(directory, listener, watch)
    except Exception:  # noqa: BLE001 - whatever it is, who waits for an answer has to see it
        traceback.print_exc()
        return 1
    finally:
        journal.close()
        listener.close()
        _leave(directory)
    return 0


class _Watch:
    """A thread that ends the process with the run, whatever the others are at."""

    def __init__(self, directory: Path, controller: int | None) -> None:
        self._directory = directory
        self._controller = controller
        self._lock = threading.Lock()
        self._on_end: Callable[[], object] | None = None
        self._ended = False
        threading.Thread(target=self._watch, name="run", daemon=True).start()

    def on_end(self, call: Callable[[], object]) -> None:
        """Have something called at the end: without it, the process just goes."""
        with self._lock:
            self._on_end = call
            ended = self._ended
        if ended:
            call()

    def _watch(self) -> None:
        poll = select.poll()
        if self._controller is not None:
            poll.register(self._controller, select.POLLIN)
        while not has_ended(self._directory):
            if poll.poll(LOOK_EVERY * 1000):
                # A controller whose last thread still runs is not quite dead.
                time.sleep(0.005)
        with self._lock:
            self._ended = True
            call = self._on_end
        if call is not None:
            with suppress(RuntimeError):  # It may have been told to end already.
                call()
            time.sleep(END_DEADLINE)
        _leave(self._directory)
        os._exit(0 if call is None else 1)


def _serve(directory: Path, listener: socket.socket, watch: _Watch) -> None:
    # Loading this takes most of the start, while who asked for the door can go on.
    import asyncio  # noqa: PLC0415
    import logging  # noqa: PLC0415

    from pytest_bottle.gateway.door import Door  # noqa: PLC0415
    from pytest_bottle.gateway.service import serve_test_processes  # noqa: PLC0415

    logging.basicConfig(stream=sys.stderr, level=logging.ERROR, format="%(asctime)s %(message)s")

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        watch.on_end(lambda: loop.call_soon_threadsafe(stop.set))
        door = Door(directory)
        serving = loop.create_task(serve_test_processes(listener, door))
        await stop.wait()
        serving.cancel()
        await door.end()

    asyncio.run(serve())


def _leave(directory: Path) -> None:
    """Remove the socket, unless it is another door's by now."""
    if read_door(directory) == Owner.current():
        (directory / control.SOCKET_NAME).unlink(missing_ok=True)
