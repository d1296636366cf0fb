"""The proxy process of a run: lives in an environment of its own, and dies with the door."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import resource
import select
import signal
import socket
import sys
import threading
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.gateway import control
from pytest_bottle.gateway.egress.authority import DIRECTORY
from pytest_bottle.gateway.egress.authority import ensure_authority

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.gateway.egress.serving import Serving

_READ: Final = 2**18
_PR_SET_PDEATHSIG: Final = 1

CHECKED: Final[ContextVar[list[Any] | None]] = ContextVar("checked", default=None)
"""The addresses of the name that this task connects to, all of them allowed."""

_logger = logging.getLogger(__name__)


class CheckedLoop(asyncio.SelectorEventLoop):
    """Connects to addresses that were checked, and to no others: no name is looked up twice."""

    async def getaddrinfo(self, host: Any, port: Any, **_hints: Any) -> Any:  # noqa: ANN401 - theirs
        """Return the addresses that the task was given."""
        checked = CHECKED.get()
        if checked is None:
            message = f"nobody has checked where {host} is"
            raise OSError(message)
        return [(*one[:4], (one[4][0], port, *one[4][2:])) for one in checked]

    async def look_up(self, host: str, port: int) -> list[Any]:
        """Ask the host's resolver.

        Raises:
            OSError: it knows none.
        """
        return list(await super().getaddrinfo(host, port, type=socket.SOCK_STREAM))


class Channel:
    """The proxy's end of the socket to its door: messages both ways, in order."""

    def __init__(self, connection: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        """Take over a connection."""
        connection.setblocking(False)
        self._connection = connection
        self._loop = loop
        self._inbox = control.Inbox()
        self._outgoing = bytearray()
        self._asked: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._number = 0
        self.serving: Serving | None = None
        self._early: list[tuple[dict[str, Any], list[int]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        loop.add_reader(connection, self._read)

    def attach(self, serving: Serving) -> None:
        """Hand over what has come until now, and all that comes."""
        self.serving = serving
        early, self._early = self._early, []
        for message, fds in early:
            self._take(message, fds)

    def send(self, message: Mapping[str, Any]) -> None:
        """Write a message after all others."""
        self._outgoing += control.encode(message)
        self._write()

    async def ask(self, what: str, bottle: str) -> Mapping[str, Any]:
        """Ask the door something about a bottle; what it answers may have `error`."""
        self._number += 1
        number = self._number
        answer = self._asked[number] = self._loop.create_future()
        self.send({"ask": number, "what": what, "bottle": bottle})
        found: Mapping[str, Any] = await answer
        return found

    def _write(self) -> None:
        while self._outgoing:
            try:
                sent = self._connection.send(self._outgoing)
            except BlockingIOError:
                self._loop.add_writer(self._connection, self._write)
                return
            except OSError:
                os._exit(0)
            del self._outgoing[:sent]
        self._loop.remove_writer(self._connection)

    def _read(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._connection, _READ, control.MAX_FDS)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if not data:
            os._exit(0)
        self._inbox.feed(data, fds)
        for message, own in self._inbox.messages():
            if "answer" in message:
                self._asked.pop(message["answer"]).set_result(message)
            elif self.serving is None:
                self._early.append((message, own))
            else:
                self._take(message, own)

    def _take(self, message: dict[str, Any], fds: list[int]) -> None:
        # Each begins at once, so in order; only what a listening socket takes is waited for.
        task = self._loop.create_task(self._reply(message, fds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reply(self, message: dict[str, Any], fds: list[int]) -> None:
        assert self.serving is not None  # noqa: S101 - `attach` came first
        number = message["call"]
        try:
            value = await self.serving.do(message, fds)
        except Exception as error:
            _logger.exception("%s", message.get("do"))
            self.send({"reply": number, "error": f"{type(error).__name__}: {error}"})
        else:
            self.send({"reply": number, "value": value})
        finally:
            for descriptor in fds:
                os.close(descriptor)


def main(argv: Sequence[str]) -> int:
    """Serve until the door goes.

    Args:
        argv: the run's directory, and the number of the descriptor that leads to the door.
    """
    directory, descriptor = Path(argv[0]), int(argv[1])
    _die_with_the_door(descriptor)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR, format="%(asctime)s %(message)s")
    connection = socket.socket(fileno=descriptor)
    loop = CheckedLoop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(_serve(directory, connection, loop))
    return 0


async def _serve(directory: Path, connection: socket.socket, loop: CheckedLoop) -> None:
    fingerprint = ensure_authority(directory)
    channel = Channel(connection, loop)
    channel.send({"event": "authority", "fingerprint": fingerprint})
    # It takes a second, in which guests may be provisioned with the certificate.
    from pytest_bottle.gateway.egress.serving import Serving  # noqa: PLC0415

    channel.attach(Serving(directory / DIRECTORY, channel, loop))
    channel.send({"event": "ready"})
    await asyncio.Event().wait()


def _die_with_the_door(descriptor: int) -> None:
    """Have this process end when the door has, whatever its event loop is at."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    def watch() -> None:
        poll = select.poll()
        poll.register(descriptor, 0)  # Nothing but its end.
        poll.poll()
        os._exit(0)

    threading.Thread(target=watch, name="door", daemon=True).start()
