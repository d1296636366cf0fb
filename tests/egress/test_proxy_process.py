"""The proxy's process by itself, with this test in the place of the door."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import socket
import stat
from typing import Any

import pytest

from pytest_bottle.door_plan import AllowPlan
from pytest_bottle.door_plan import EgressPlan
from pytest_bottle.errors import DoorError
from pytest_bottle.gateway.egress.environment import ensure_environment
from pytest_bottle.gateway.egress.proxy import Proxy

TOKEN = "the-pass-of-the-bottle"


class Gate:
    """What the proxy tells of one bottle."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.broken = ""

    def add(self, record) -> None:
        self.records.append(record)

    async def model(self) -> tuple[str, int, str]:
        raise DoorError("has no model")

    def broke(self, reason: str) -> None:
        self.broken = reason


def opening(port: int, **changes) -> dict[str, Any]:
    plan = EgressPlan(allow=(AllowPlan(host="127.0.0.1", port=port),))
    values = {
        "bottle": "box",
        "token": TOKEN,
        "plan": dataclasses.asdict(plan),
        "secrets": {},
        "credentials": {},
        "supervised": False,
        "models": [],
        "roots": [],
        "timeout": 60.0,
    }
    return {**values, **changes}


async def get(door: int, url: str) -> str:
    """Return the status line of what a bottle gets."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door)
    login = base64.b64encode(f"bottle:{TOKEN}".encode()).decode()
    head = f"GET {url} HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic {login}\r\n\r\n"
    writer.write(head.encode())
    line = await asyncio.wait_for(reader.readline(), 60)
    writer.close()
    return line.decode().strip()


def with_proxy(directory, use) -> None:
    """Run `use(proxy, gate)` with a proxy process."""

    async def run() -> None:
        proxy = Proxy(directory, ensure_environment(print))
        gate = Gate()
        proxy.attach("box", gate)
        try:
            await use(proxy, gate)
        finally:
            await proxy.end()

    asyncio.run(run())


async def serve(proxy: Proxy, port: int, **changes) -> int:
    """Open a bottle that may reach a port, and return the port at which it is served."""
    await proxy.call("open", opening=opening(port, **changes))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await proxy.call("listen", [listener.fileno()], bottle="box")
        door: int = listener.getsockname()[1]
    return door


def test_a_silent_server_is_given_up(tmp_path, web):
    async def use(proxy: Proxy, gate: Gate) -> None:
        door = await serve(proxy, port=web.port, timeout=3.0)
        assert await get(door, f"{web.url}/silence") == "HTTP/1.1 504 Gateway Time-out"
        await proxy.call("settle", bottle="box")
        (record,) = gate.records
        assert (record["status"], record["reason"]) == (504, "no answer within 3 s")
        assert await get(door, f"{web.url}/") == "HTTP/1.1 200 OK"

    with_proxy(tmp_path, use)


def test_the_authoritys_key_is_this_users_alone(tmp_path):
    async def use(proxy: Proxy, _gate: Gate) -> None:
        certificate = await proxy.authority()
        assert certificate.read_text().startswith("-----BEGIN CERTIFICATE-----")
        assert "PRIVATE" not in certificate.read_text()
        await proxy.call("settle", bottle="box")
        assert "SHA-256" in (tmp_path / "proxy" / "proxy.log").read_text()

    with_proxy(tmp_path, use)
    assert stat.S_IMODE((tmp_path / "proxy").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "proxy" / "mitmproxy-ca.pem").stat().st_mode) == 0o600


def test_who_waits_for_a_proxy_that_dies_is_told(tmp_path):
    async def use(proxy: Proxy, gate: Gate) -> None:
        proxy.kill()
        with pytest.raises(DoorError, match="has a proxy that"):
            await proxy.call("settle", bottle="box")
        assert gate.broken == "its proxy ended with exit code -9"

    with_proxy(tmp_path, use)


def test_a_closed_bottle_is_served_no_more(tmp_path, web):
    async def use(proxy: Proxy, _gate: Gate) -> None:
        door = await serve(proxy, port=web.port)
        assert await get(door, web.url) == "HTTP/1.1 200 OK"
        await proxy.call("close", bottle="box")
        with pytest.raises(OSError, match=r"refused|failed"):
            await get(door, web.url)

    with_proxy(tmp_path, use)
