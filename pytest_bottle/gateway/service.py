"""The door's end of the control socket: does what test processes ask for, and asks them."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.errors import BottleError
from pytest_bottle.errors import DoorError
from pytest_bottle.gateway import control
from pytest_bottle.gateway.authoring import TurnFailedError
from pytest_bottle.gateway.gate_opening import GateOpening
from pytest_bottle.gateway.opening import Opening

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from collections.abc import Mapping

    from pytest_bottle.gateway.door import Door

_READ = 2**18
_PAUSE = 0.1

_logger = logging.getLogger(__name__)


async def serve_test_processes(listener: socket.socket, door: Door) -> None:
    """Take connections until cancelled."""
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
    running: set[asyncio.Task[None]] = set()
    while True:
        try:
            connection, _ = await loop.sock_accept(listener)
        except OSError:  # Too many open files, for one: there will be fewer.
            _logger.exception("a test process was not let in")
            await asyncio.sleep(_PAUSE)
            continue
        task = loop.create_task(Service(connection, door).serve())
        running.add(task)
        task.add_done_callback(running.discard)


class Service:
    """One test process; what it opened is closed when its connection ends."""

    def __init__(self, connection: socket.socket, door: Door) -> None:
        """Take over a connection."""
        connection.setblocking(False)
        self._connection = connection
        self._door = door
        self._loop = asyncio.get_running_loop()
        self._inbox = control.Inbox()
        self._gone = self._loop.create_future()
        self._sending = asyncio.Lock()
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Serve the process until it goes."""
        # Not asyncio's streams, which know no descriptors.
        self._loop.add_reader(self._connection, self._read)
        try:
            await self._gone
        finally:
            self._loop.remove_reader(self._connection)
            for answer in self._asked.values():
                answer.cancel()
            for task in list(self._tasks):
                task.cancel()
            self._connection.close()
            self._inbox.close()
            await self._door.leave(self)

    async def ask(self, bottle: str, number: int, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a callable of the test answers, as JSON.

        Raises:
            TurnFailedError: it failed.
            DoorError: the process went away.
        """
        asked = next(self._numbers)
        self._asked[asked] = self._loop.create_future()
        try:
            await self._send(
                {"ask": asked, "bottle": bottle, "function": number, "request": request}
            )
            answer = await self._asked[asked]
        except asyncio.CancelledError:
            if self._gone.done():
                raise DoorError("cannot ask the test's callable: its process has gone") from None
            raise
        finally:
            del self._asked[asked]
        if "failed" in answer:
            raise TurnFailedError(answer["failed"])
        turn: dict[str, Any] = answer["turn"]
        return turn

    def tell(self, event: Mapping[str, Any]) -> None:
        """Let the process know of something."""
        self._start(self._send(event))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _read(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._connection, _READ, control.MAX_FDS)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        self._inbox.feed(data, fds)
        try:
            for message, own in self._inbox.messages():
                self._take(message, own)
        except (ValueError, TypeError, IndexError):
            _logger.exception("a test process speaks another language")
            data = b""
        if not data and not self._gone.done():
            self._gone.set_result(None)

    def _take(self, message: dict[str, Any], fds: list[int]) -> None:
        if "answer" in message:
            waiting = self._asked.get(message["answer"])
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
        else:
            self._start(self._reply(message, fds))

    async def _reply(self, message: dict[str, Any], fds: list[int]) -> None:
        number = message["call"]
        try:
            done = await self._do(message, fds)
        except Exception as error:
            if not isinstance(error, BottleError):
                _logger.exception("%s", message.get("do"))
            failed = {"error": str(error), "kind": type(error).__name__}
            await self._send({"reply": number, **failed})
        else:
            if isinstance(done, bytes):
                await self._send_bytes(control.frame(b'{"reply":%d,' % number + done))
            else:
                await self._send({"reply": number, **done})
        finally:
            for descriptor in fds:
                os.close(descriptor)

    async def _do(self, message: dict[str, Any], fds: list[int]) -> dict[str, Any] | bytes:
        door = self._door
        match message:
            case {"do": "open", "opening": opening}:
                door.open(Opening.from_json(opening), self)
            case {"do": "join", "bottle": name}:
                return {"mode": door.join(name, self).opening.mode}
            case {"do": "listen", "bottle": name}:
                await door.listen(name, socket.socket(fileno=fds.pop()))
            case {"do": "script", "bottle": name, "scripts": scripts}:
                door.bottle(name).script(scripts, self)
            case {"do": "state", "bottle": name}:
                return await door.state(name)
            case {"do": "exchanges", "bottle": name, "since": since}:
                records, more = await door.page(name, since)
                # They are JSON already.
                head = b'"more":%s,"exchanges":[' % (b"true" if more else b"false")
                return head + b",".join(records) + b"]}"
            case {"do": "close", "bottle": name}:
                return await door.close(name)
            case _:
                return await self._do_gates(message, fds)
        return {}

    async def _do_gates(self, message: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        door = self._door
        match message:
            case {"do": "gates-open", "opening": opening}:
                door.gates.open(GateOpening.from_json(opening), self)
            case {"do": "gates-authority"}:
                return {"path": str(await door.gates.authority())}
            case {"do": "gate-listen", "bottle": name, "kind": kind}:
                await door.gates.gate(name, kind).listen(socket.socket(fileno=fds.pop()))
            case {"do": "gate", "bottle": name, "kind": kind, "verb": verb, "fields": fields}:
                return {"value": await door.gates.gate(name, kind).do(verb, fields)}
            case {"do": "gate-records", "bottle": name, "kind": kind, "since": since}:
                return await door.gates.page(name, kind, since)
            case {"do": "proposals"}:
                return {"bottles": await door.gates.proposals()}
            case {"do": "decide", "bottle": name, **answer}:
                return dict(await door.gates.gate(name, "supervise").do("decide", answer))
            case {"do": "gates-close", "bottle": name}:
                await door.gates.close(name)
            case _:
                raise DoorError(f"knows no operation {message.get('do')!r}")
        return {}

    async def _send(self, message: Mapping[str, Any]) -> None:
        await self._send_bytes(control.encode(message))

    async def _send_bytes(self, data: bytes) -> None:
        async with self._sending:
            try:
                await self._loop.sock_sendall(self._connection, data)
            except OSError:
                if not self._gone.done():
                    self._gone.set_result(None)
