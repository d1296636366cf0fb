"""A test process's end of the control socket. Its calls may come from several threads."""

from __future__ import annotations

import itertools
import queue
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle import errors
from pytest_bottle.errors import BottleError
from pytest_bottle.errors import DoorError
from pytest_bottle.gateway import control
from pytest_bottle.gateway.starting import ensure_door
from pytest_bottle.gateway.starting import read_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping
    from collections.abc import Sequence
    from pathlib import Path
    from typing import TypeAlias

    from pytest_bottle.state.owner import Owner
    from pytest_bottle.state.run import Run

    Answerer: TypeAlias = Callable[[int, Mapping[str, Any]], Mapping[str, Any]]
    """Given the number of a callable and a request, returns `turn` or `failed`."""
    Hearer: TypeAlias = Callable[[Mapping[str, Any]], None]

CALL_TIMEOUT: Final = 30.0
"""Seconds until a door that does not answer is taken for dead."""

_READ: Final = 2**20


class DoorClient:
    """This process's way to its run's door, which is started when it is first needed."""

    def __init__(self, run: Run) -> None:
        """Start nothing yet."""
        self._run = run
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._door: Owner | None = None

    def start(self) -> None:
        """Have the door start, without waiting until it serves.

        Raises:
            DoorError: it could not be started.
            RunEndedError: the run was taken down.
        """
        ensure_door(self._run)

    def connection(self) -> Connection:
        """Return a connection to a door that lives: to a new one, where the last has died.

        Raises:
            DoorError: it could not be started.
            RunEndedError: the run was taken down.
        """
        with self._lock:
            door = ensure_door(self._run)
            if self._connection is None or not self._connection.alive or door != self._door:
                self._connection, self._door = Connection(self._run.directory), door
            return self._connection

    def close(self) -> None:
        """End the connection, and with it whatever this process has open. Idempotent."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


class Connection:
    """One connection: calls with their replies, questions from the door, and its events."""

    def __init__(self, directory: Path) -> None:
        """Connect to the door of a run.

        Raises:
            DoorError: there is none.
        """
        self._directory = directory
        try:
            self._socket = control.connect(directory)
        except OSError as error:
            raise DoorError(f"takes no connection: {error}", log=read_log(directory)) from error
        timeout = struct.pack("ll", int(CALL_TIMEOUT), 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
        self._numbers = itertools.count()
        self._sending = threading.Lock()
        self._state = threading.Lock()
        self._waiting: dict[int, queue.SimpleQueue[Mapping[str, Any] | None]] = {}
        self._bottles: dict[str, tuple[Answerer, Hearer]] = {}
        self._alive = True
        threading.Thread(target=self._read, name="bottle-door", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether the door is known to be there."""
        return self._alive

    def hear(self, bottle: str, *, answer: Answerer, event: Hearer) -> None:
        """Have questions and events about a bottle go somewhere; each comes in its own thread.

        The last event is `{"gone": true}`, where the door dies before the bottle is forgotten.
        """
        self._bottles[bottle] = (answer, event)

    def forget(self, bottle: str) -> None:
        """Hear no more of a bottle."""
        self._bottles.pop(bottle, None)

    def call(
        self, do: str, *, fds: Sequence[int] = (), timeout: float = CALL_TIMEOUT, **fields: object
    ) -> Mapping[str, Any]:
        """Have the door do something, and return what it replies.

        Args:
            do: the operation.
            fds: descriptors to hand over; ours stay open.
            timeout: seconds to wait for the reply.
            fields: what belongs to the operation; JSON values.

        Raises:
            DoorError: the door is gone, does not answer, or refuses.
            BottleError: of its own kind, where that is what the door came across.
        """
        number = next(self._numbers)
        reply: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        with self._state:
            if not self._alive:
                raise self._gone()
            self._waiting[number] = reply
        try:
            self._send({"call": number, "do": do, **fields}, fds)
            answer = reply.get(timeout=timeout)
        except queue.Empty:
            raise DoorError(f"did not answer for {timeout:g} s when asked to {do}") from None
        finally:
            self._waiting.pop(number, None)
        if answer is None:
            raise self._gone()
        if "error" in answer:
            raise _error(answer["kind"], answer["error"])
        return answer

    def close(self) -> None:
        """End the connection. Idempotent."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # The reader then closes it.

    def _gone(self) -> DoorError:
        return DoorError("has gone", log=read_log(self._directory))

    def _send(self, message: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
        with self._sending:
            try:
                control.send(self._socket, message, fds)
            except OSError:
                # A part of it may have been sent: nothing can follow.
                self.close()
                raise self._gone() from None

    def _read(self) -> None:
        inbox = control.Inbox()
        with suppress(OSError, ValueError):
            while data := self._socket.recv(_READ):
                inbox.feed(data)
                for message, _ in inbox.messages():
                    self._take(message)
        with self._state:
            self._alive = False
            waiting = list(self._waiting.values())
        for reply in waiting:
            reply.put(None)
        with self._sending:
            self._socket.close()
        for _, event in list(self._bottles.values()):
            event({"gone": True})

    def _take(self, message: Mapping[str, Any]) -> None:
        if "reply" in message:
            waiting = self._waiting.get(message["reply"])
            if waiting is not None:
                waiting.put(message)
            return
        # What the test wrote runs there: it may take long, and ask the door in its turn.
        work = self._answer if "ask" in message else self._tell
        name = f"bottle-door-{message['bottle']}"
        threading.Thread(target=work, args=(message,), name=name, daemon=True).start()

    def _answer(self, message: Mapping[str, Any]) -> None:
        if (hearers := self._bottles.get(message["bottle"])) is None:
            answer: Mapping[str, Any] = {"failed": "the bottle has been closed"}
        else:
            answer = hearers[0](message["function"], message["request"])
        with suppress(DoorError):
            self._send({"answer": message["ask"], **answer})

    def _tell(self, message: Mapping[str, Any]) -> None:
        if (hearers := self._bottles.get(message["bottle"])) is not None:
            hearers[1](message)


def _error(kind: str, words: str) -> BottleError:
    """Return the error that the door came across, as this process's own."""
    known = getattr(errors, kind, None)
    if not (isinstance(known, type) and issubclass(known, BottleError)):
        return DoorError(f"failed: {kind}: {words}")
    # The sentence is built already.
    error = known.__new__(known)
    Exception.__init__(error, words)
    return error
