"""A container is as closed in as any other bottle, and reaches what its proxy lets pass."""

from __future__ import annotations

import os

import pytest

from pytest_bottle.backends.docker.image import DEFAULT_IMAGE

pytestmark = pytest.mark.bottle_requires("docker")

IMAGE = os.environ.get("BOTTLE_DOCKER_IMAGE", DEFAULT_IMAGE)

ASK = """
import os, sys, urllib.error, urllib.request
os.environ["no_proxy"] = os.environ["NO_PROXY"] = ""
for url in sys.argv[1:]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            print(answer.status, answer.read().decode())
    except urllib.error.HTTPError as error:
        print(error.code)
    except OSError as error:
        print(error)
"""


def test_a_container_reaches_what_it_may(bottle_factory, secure_web, web):
    bottle = bottle_factory(backend="docker", image=IMAGE, egress=[secure_web.host])
    urls = [f"{secure_web.url}/it", f"{web.url}/", "https://docs.example.org/"]
    answers = bottle.exec(["python3", "-c", ASK, *urls], timeout=120).check().stdout.splitlines()
    assert answers[:2] == ["200 hello from /it", "403"]
    assert "403" in answers[2]
    assert [request.verdict for request in bottle.egress.requests] == [
        *("allowed", "denied", "denied")
    ]
