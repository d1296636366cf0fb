"""Load the model door: 16 bottles at once, with a slow reader and clients that hang up.

    python benchmarks/door.py [--seconds N]

Prints how many scripted requests of 48 kB it serves, how long they take, what it adds to a bare
aiohttp server that answers the same, and what it holds in memory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Self

from pytest_bottle.gateway.client import DoorClient
from pytest_bottle.gateway.model import new_token
from pytest_bottle.gateway.model import open_model
from pytest_bottle.gateway.opening import Opening
from pytest_bottle.gateway.starting import read_door
from pytest_bottle.gateway.turns import say
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.run import Run
from pytest_bottle.usage import Usage

BOTTLES = 16
RATE = 200
"""Requests a second, of all bottles together, in the paced part."""

TEXT = "The answer is in app.py, where a query is put together from what a user says. " * 5
USAGE = Usage(input_tokens=12_000, output_tokens=100)

BARE = """
import asyncio, json, socket, sys
from aiohttp import web
EVENTS = [event.encode("latin-1") for event in json.loads(sys.stdin.readline())]
async def handle(request):
    json.loads(await request.content.read())
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for event in EVENTS:
        await response.write(event)
    await response.write_eof()
    return response
async def main():
    server = web.Server(handle, access_log=None)
    listener = socket.create_server(("127.0.0.1", 0))
    await asyncio.get_running_loop().create_server(server, sock=listener)
    print(listener.getsockname()[1], flush=True)
    await asyncio.sleep(3600)
asyncio.run(main())
"""


def request_bytes(token: str) -> bytes:
    """Return a request like those of Claude Code."""
    tools = [
        {
            "name": f"Tool{number}",
            "description": "What it does, and when to use it, at some length. " * 20,
            "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}},
        }
        for number in range(20)
    ]
    system = [{"type": "text", "text": "You are a careful engineer. " * 200} for _ in range(3)]
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "context " * 700}]},
        {"role": "system", "content": "skills " * 200},
        {"role": "user", "content": "Review app.py"},
    ]
    body = json.dumps(
        {
            "model": "claude-sonnet-4-5",
            "max_tokens": 32000,
            "system": system,
            "tools": tools,
            "messages": messages,
            "stream": True,
        }
    ).encode()
    head = (
        "POST /v1/messages?beta=true HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        f"x-api-key: {token}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Client:
    """A connection that is kept."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request: bytes) -> bytes:
        self.socket.sendall(request)
        answer = bytearray()
        while not answer.endswith(b"\r\n0\r\n\r\n"):
            part = self.socket.recv(2**16)
            if not part:
                message = f"the answer broke off: {bytes(answer[:200])}"
                raise ConnectionError(message)
            answer += part
        if not answer.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(bytes(answer[:300]).decode())
        return bytes(answer)


class Load:
    """Clients that ask on and on, each of its own bottle."""

    def __init__(self, targets: list[tuple[int, bytes]]) -> None:
        self.targets = targets
        self.times: list[float] = []
        self.failures: list[str] = []

    def run(self, seconds: float, rate: float | None) -> float:
        """Ask for some seconds, at a rate or as fast as it goes; return requests a second."""
        self.times.clear()
        began = time.perf_counter()
        threads = [
            threading.Thread(target=self._ask, args=(number, began, seconds, rate))
            for number in range(len(self.targets))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(self.times) / (time.perf_counter() - began)

    def _ask(self, number: int, began: float, seconds: float, rate: float | None) -> None:
        port, request = self.targets[number]
        pause = len(self.targets) / rate if rate else 0.0
        due = began + pause * number / len(self.targets)
        client = Client(port)
        while (now := time.perf_counter()) < began + seconds:
            if rate:
                # The time of a request that had to wait for its predecessor counts from when it
                # was due.
                time.sleep(max(0.0, due - now))
                start, due = due, due + pause
            else:
                start = now
            try:
                client.ask(request)
            except OSError as error:
                self.failures.append(str(error))
                client = Client(port)
            else:
                self.times.append((time.perf_counter() - start) * 1000)


class Nuisance:
    """A reader of one byte at a time, and clients that hang up while they are answered."""

    def __init__(self, port: int, request: bytes, slow_port: int, slow_request: bytes) -> None:
        self.stop = threading.Event()
        self.dropped = 0
        self.threads = [
            threading.Thread(target=self._drop, args=(port, request)),
            threading.Thread(target=self._read_slowly, args=(slow_port, slow_request)),
        ]

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def _drop(self, port: int, request: bytes) -> None:
        while not self.stop.wait(0.02):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                half = self.dropped % 2
                connection.sendall(request[: len(request) // (1 + half)])
                if not half:
                    connection.recv(100)
            self.dropped += 1

    def _read_slowly(self, port: int, request: bytes) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(request)
            while not self.stop.wait(0.01):
                connection.recv(1)


def percentile(times: list[float], part: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * part))]


def memory(pid: int) -> float:
    """Return what a process holds, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


@contextlib.contextmanager
def bare_server(events: list[bytes]):
    command = [sys.executable, "-c", BARE]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        process.stdin.write(json.dumps([event.decode("latin-1") for event in events]) + "\n")
        process.stdin.flush()
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def compare(port: int, request: bytes, rounds: int) -> tuple[float, float]:
    """Return the medians of the door and of a bare server, asked in turn, in ms."""
    door = Client(port)
    answer = door.ask(request).partition(b"\r\n\r\n")[2]
    events = [
        event + b"\n\n" for event in re.sub(rb"[0-9a-f]+\r\n|\r\n", b"", answer).split(b"\n\n")
    ]
    with bare_server(events[:-1]) as bare_port:
        bare = Client(bare_port)
        times = {door: [], bare: []}
        for _ in range(rounds):
            for client, own in times.items():
                start = time.perf_counter()
                client.ask(request)
                own.append((time.perf_counter() - start) * 1000)
    return statistics.median(times[door]), statistics.median(times[bare])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each part")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as state:
        os.environ["BOTTLE_STATE_DIR"] = f"{state}/state"
        run = Run.join(os.urandom(8).hex(), "main", Owner.current())
        door = DoorClient(run)
        start = time.perf_counter()
        door.start()
        started = time.perf_counter()
        connection = door.connection()
        targets, models = [], []
        for number in range(BOTTLES + 1):
            opening = Opening(
                bottle=f"bottle-{number}", token=new_token(), evidence=Path(state, "evidence")
            )
            model = open_model(connection, opening)
            if not number:
                served = time.perf_counter()
            listener = socket.create_server(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            model.listen(listener, url=f"http://127.0.0.1:{port}")
            listener.close()
            model.script(say(TEXT if number < BOTTLES else TEXT * 10_000, usage=USAGE))
            models.append(model)
            targets.append((port, request_bytes(opening.token)))
        process = read_door(run.directory).pid
        print(f"the door takes calls after {(started - start) * 1000:.0f} ms, ", end="")
        print(f"and serves after {(served - start) * 1000:.0f} ms")
        size = len(targets[0][1])
        print(f"{BOTTLES} bottles, requests of {size / 1000:.0f} kB, answers streamed")
        added = compare(*targets[0], rounds=300)
        print(f"one client: {added[0]:.2f} ms, a bare aiohttp server {added[1]:.2f} ms, ", end="")
        print(f"the door adds {added[0] - added[1]:.2f} ms (aim: at most 3)")
        before = memory(process)
        load = Load(targets[:BOTTLES])
        with Nuisance(*targets[0], *targets[BOTTLES]) as nuisance:
            for rate in (RATE, None):
                reached = load.run(seconds, rate)
                name = f"at {rate} a second" if rate else "as fast as it goes"
                times = load.times
                print(
                    f"{name}: {reached:.0f} requests/s, p50 {percentile(times, 0.5):.1f} ms, ",
                    end="",
                )
                print(
                    f"p99 {percentile(times, 0.99):.1f} ms, {len(load.failures)} errors", flush=True
                )
        print(f"meanwhile {nuisance.dropped} clients hung up, and one read a byte every 10 ms")
        print(f"the door's memory: {before:.0f} MiB before, {memory(process):.0f} MiB after")
        counted = sum(len(model.requests) for model in models[1:BOTTLES])
        print(f"recorded: {counted} requests of {BOTTLES - 1} bottles")
        door.close()
        run.end()
        if load.failures:
            sys.exit(f"failed: {load.failures[:3]}")


if __name__ == "__main__":
    main()
