"""The proxy process of a run, as the door holds it: started when it is needed, gone with the door.

One serves all bottles of the run. Where it died, its bottles stay closed in, and the next bottle
gets a new process.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Final
from typing import Protocol

import pytest_bottle
from pytest_bottle import process
from pytest_bottle.errors import DoorError
from pytest_bottle.gateway import control
from pytest_bottle.gateway.egress.authority import CA_NAME
from pytest_bottle.gateway.egress.authority import DIRECTORY
from pytest_bottle.gateway.egress.environment import ensure_environment

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from collections.abc import Mapping
    from collections.abc import Sequence

LOG_NAME: Final = "proxy.log"
"""In the authority's directory: what the proxy writes."""

READY_TIMEOUT: Final = 180.0
"""Seconds until it serves: its libraries take a minute of a slow or busy processor."""

CALL_TIMEOUT: Final = 25.0
"""Seconds for it to do something: less than a test process waits for the door."""

END_DEADLINE: Final = 0.2
"""Seconds that it may take to end by itself."""

_START: Final = (
    "import sys; sys.path.append(sys.argv[3]); "
    "from pytest_bottle.gateway.egress.program import main; sys.exit(main(sys.argv[1:3]))"
)
_READ: Final = 2**18
_LOG_TAIL: Final = 2000

_logger = logging.getLogger(__name__)


class Client(Protocol):
    """A bottle's gate, as its proxy speaks to it."""

    def add(self, record: Mapping[str, Any]) -> None:
        """Take a record."""
        ...

    async def model(self) -> tuple[str, int, str]:
        """Return where the bottle's model listens on this host, and its token.

        Raises:
            DoorError: it is not open.
        """
        ...

    def broke(self, reason: str) -> None:
        """Hear that the proxy is gone."""
        ...


class Proxy:
    """One proxy process."""

    def __init__(self, directory: Path, python: Path) -> None:
        """Start it; it serves when it has loaded what it needs.

        Raises:
            OSError: it could not be started.
        """
        self.directory: Final = directory
        self.gone = ""
        """Why it serves no more; empty as long as it does."""
        self._loop = asyncio.get_running_loop()
        self._ca: asyncio.Future[Path] = self._loop.create_future()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._numbers = itertools.count()
        self._calls: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._clients: dict[str, Client] = {}
        self._sending = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connection, theirs = socket.socketpair()
        try:
            own = directory / DIRECTORY
            own.mkdir(mode=0o700, exist_ok=True)
            self._log = own / LOG_NAME
            with theirs, self._log.open("ab") as log:
                # Here, and in no other thread: where that ends, so does the process.
                self._process = process.start(
                    [
                        *(str(python), "-P", "-W", "ignore", "-c", _START),
                        *(str(directory), str(theirs.fileno())),
                        str(Path(pytest_bottle.__file__).absolute().parent.parent),
                    ],
                    stdout=log,
                    stderr=log,
                    pass_fds=(theirs.fileno(),),
                    env=_environment(),
                    cwd="/",
                )
        except BaseException:
            self._connection.close()
            raise
        self._connection.setblocking(False)
        self._start(self._read())

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    async def authority(self) -> Path:
        """Return the certificate of the authority that signs for it.

        Raises:
            DoorError: it did not start.
        """
        path: Path = await self._wait(self._ca)
        return path

    async def call(self, do: str, fds: Sequence[int] = (), **fields: object) -> None:
        """Have it do something.

        Raises:
            DoorError: it is gone, or failed.
        """
        await self._wait(self._ready)
        number = next(self._numbers)
        answer = self._calls[number] = self._loop.create_future()
        try:
            await self._send({"call": number, "do": do, **fields}, fds)
            async with asyncio.timeout(CALL_TIMEOUT):
                reply = await answer
        except TimeoutError:
            raise DoorError(f"got no answer from its proxy within {CALL_TIMEOUT:g} s") from None
        finally:
            self._calls.pop(number, None)
        if "error" in reply:
            raise DoorError(f"has a proxy that failed: {reply['error']}")

    def attach(self, bottle: str, client: Client) -> None:
        """Have a gate told of what concerns its bottle."""
        self._clients[bottle] = client

    def detach(self, bottle: str) -> None:
        """Tell it no more."""
        self._clients.pop(bottle, None)

    async def end(self) -> None:
        """End it, whatever it is at. Idempotent."""
        self._connection.close()
        with suppress(process.WaitTimeout):
            await asyncio.to_thread(self._process.wait, END_DEADLINE)
        self.kill()

    def kill(self) -> None:
        """Kill it."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    async def _wait(self, future: asyncio.Future[Any]) -> Any:  # noqa: ANN401 - the future's
        try:
            async with asyncio.timeout(READY_TIMEOUT):
                return await asyncio.shield(future)
        except TimeoutError:
            raise self._error(f"was not ready within {READY_TIMEOUT:g} s") from None

    async def _send(self, message: Mapping[str, Any], fds: Sequence[int]) -> None:
        async with self._sending:
            data = control.encode({**message, "fds": len(fds)} if fds else message)
            try:
                while fds:
                    try:
                        sent = socket.send_fds(self._connection, [data], list(fds))
                    except BlockingIOError:
                        await asyncio.sleep(0.01)
                    else:
                        data, fds = data[sent:], ()
                await self._loop.sock_sendall(self._connection, data)
            except OSError:
                self._end()
                raise self._error("has gone") from None

    async def _read(self) -> None:
        inbox = control.Inbox()
        try:
            while data := await self._loop.sock_recv(self._connection, _READ):
                inbox.feed(data)
                for message, _ in inbox.messages():
                    self._take(message)
        except OSError:
            pass
        except Exception:
            _logger.exception("the proxy speaks another language")
        self._end()

    def _take(self, message: Mapping[str, Any]) -> None:
        match message:
            case {"reply": number}:
                if (call := self._calls.get(number)) is not None and not call.done():
                    call.set_result(message)
            case {"event": "record", "bottle": bottle, "record": record}:
                if (client := self._clients.get(bottle)) is not None:
                    client.add(record)
            case {"ask": number, "bottle": bottle}:
                self._start(self._answer(number, bottle))
            case {"event": "authority", "fingerprint": fingerprint}:
                with self._log.open("a", encoding="utf-8") as log:
                    log.write(f"the authority's certificate has the SHA-256 {fingerprint}\n")
                self._ca.set_result(self.directory / CA_NAME)
            case {"event": "ready"}:
                self._ready.set_result(None)

    async def _answer(self, number: int, bottle: str) -> None:
        client = self._clients.get(bottle)
        try:
            if client is None:
                raise DoorError(f"has no proxy for {bottle}")  # noqa: TRY301 - as if it were asked
            host, port, token = await client.model()
        except Exception as error:  # noqa: BLE001 - the other side has to hear of it
            answer: dict[str, Any] = {"answer": number, "error": str(error)}
        else:
            answer = {"answer": number, "host": host, "port": port, "token": token}
        with suppress(DoorError):
            await self._send(answer, ())

    def _end(self) -> None:
        if self.gone:
            return
        self.kill()
        code = self._process.returncode
        self.gone = f"its proxy ended with exit code {code}"
        error = self._error("ended")
        waiting: list[asyncio.Future[Any]] = [self._ca, self._ready, *self._calls.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # Not everybody waits for it.
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.broke(self.gone)
        self._connection.close()

    def _error(self, what: str) -> DoorError:
        log = ""
        with suppress(OSError):
            log = self._log.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL:]
        return DoorError(f"has a proxy that {what}", log=log)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_proxies: Final[dict[Path, Proxy]] = {}
"""By the run's directory."""


def ensure_proxy(directory: Path) -> Proxy:
    """Return the run's proxy, started where none lives.

    Raises:
        HostError: it has no environment.
        DoorError: it could not be started.
    """
    proxy = _proxies.get(directory)
    if proxy is None or proxy.gone:
        # The test process has had it made: this only finds it.
        python = ensure_environment(_logger.error)
        try:
            proxy = _proxies[directory] = Proxy(directory, python)
        except OSError as error:
            raise DoorError(f"could not start its proxy: {error}") from error
    return proxy


async def end_proxies() -> None:
    """End what was started."""
    while _proxies:
        _, proxy = _proxies.popitem()
        await proxy.end()


def _environment() -> dict[str, str]:
    """Return the variables of the proxy: none that lead its Python, or its requests, elsewhere."""
    astray = (
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "SSLKEYLOGFILE",
        "MITMPROXY_SSLKEYLOGFILE",
    )
    proxies = ("http_proxy", "https_proxy", "all_proxy")
    return {
        name: value
        for name, value in os.environ.items()
        if name not in astray and name.lower() not in proxies
    }
