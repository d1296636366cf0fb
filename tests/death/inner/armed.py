"""Tests whose bottle has a proxy, a git gate and a supervisor, all of them busy when it stops."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pausing import pause  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from pytest_bottle import Bottle
    from pytest_bottle import ExecResult

WEB = os.environ["DEATH_WEB"]

WORK = """
set -e
git clone -q $DEATH_GIT app
cd app
echo new >new
git add new
git commit -q -m New
git push -q origin HEAD:refs/heads/agent/new >/dev/null 2>&1 &
curl -sS --noproxy '' $DEATH_WEB/silence >/dev/null 2>&1 &
python3 ../ask.py >/dev/null 2>&1 &
"""

ASK = """
import json, os, urllib.request
call = {"name": "request_capability", "arguments": {"name": "gpu", "reason": "to compute"}}
body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
headers = {
    "Authorization": "Bearer " + os.environ["BOTTLE_PASS"],
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2025-06-18",
}
url = "http://127.0.0.1:4183/mcp"
urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)).read()
"""

DIRECT = """
import socket
try:
    socket.create_connection(("127.0.0.1", PORT), 5)
except OSError:
    print("closed in")
"""


def fetch(bottle: Bottle) -> ExecResult:
    """Return what curl says to a request through the proxy."""
    return bottle.sh(f"curl -sS --noproxy '' --max-time 20 {WEB}/hello")


def work(bottle: Bottle) -> None:
    """Return when each of its gates is at something that does not end by itself."""
    assert fetch(bottle).check().stdout == "hello"
    assert [request.path for request in bottle.egress.requests] == ["/hello"]
    bottle.write_file("ask.py", ASK)
    env = {"DEATH_WEB": WEB, "DEATH_GIT": os.environ["DEATH_GIT"]}
    bottle.sh(WORK, env=env, timeout=60).check()
    seen = Path(os.environ["DEATH_SEEN"])
    deadline = time.monotonic() + 60
    while not ((seen / "push").exists() and (seen / "silence").exists()):
        assert time.monotonic() < deadline, "the gates did not get to work"
        time.sleep(0.01)
    bottle.supervise.wait(timeout=60)


@pytest.mark.bottle(bottle="armed")
def test_work(bottle):
    work(bottle)
    pause("test")
    assert bottle.egress.requests[0].path == "/hello"


@pytest.mark.bottle(bottle="armed")
def test_again(bottle):
    assert fetch(bottle).check().stdout == "hello"
    while "DEATH_HOLD" in os.environ and not Path("gone").exists():
        time.sleep(0.01)


@pytest.mark.bottle(bottle="armed")
def test_without_a_proxy(bottle):
    assert fetch(bottle).check().stdout == "hello"
    assert len(bottle.egress.requests) == 1
    pause("test")
    assert not fetch(bottle).success
    direct = bottle.exec(["python3", "-c", DIRECT.replace("PORT", WEB.rpartition(":")[2])])
    assert direct.stdout == "closed in\n"
    (request,) = bottle.egress.requests
    assert (request.path, request.verdict) == ("/hello", "allowed")
    Path("closed-in").touch()
