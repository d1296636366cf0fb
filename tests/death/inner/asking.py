"""Four tests that ask a model through the run's door; the first one stops in between."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from pausing import pause  # type: ignore[import-not-found]

from pytest_bottle import Bottle
from pytest_bottle import say

ASK = """
import json, sys, urllib.request
url, token = sys.argv[1:]
body = {"model": "m", "messages": [{"role": "user", "content": "Hello?"}]}
data, headers = json.dumps(body).encode(), {"x-api-key": token}
request = urllib.request.Request(url + "/v1/messages", data, headers)
print(json.load(urllib.request.urlopen(request))["content"][0]["text"])
"""


def ask(bottle: Bottle) -> str:
    """Return what the model says to a guest."""
    model = bottle.model
    return bottle.exec(["python3", "-c", ASK, model.url, model.token]).stdout.strip()


@pytest.mark.parametrize("number", range(4))
def test_asking(bottle, number):
    bottle.model.script(say("Hello."))
    assert ask(bottle) == "Hello."
    Path(f"asked-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}").touch()
    while len(list(Path().glob("asked-*"))) < int(os.environ["DEATH_WORKERS"]):
        time.sleep(0.01)
    if number == 0:
        pause("test")
    while number == 3 and "DEATH_HOLD" in os.environ and not Path("gone").exists():
        time.sleep(0.01)
    answer = ask(bottle)
    assert len(bottle.model.requests) == 2
    assert answer == "Hello."
