"""What is left of a push whose agent went away, or whose bottle ends: nothing."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.git.upstreams import refs

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_bottle import Bottle

pytestmark = [
    pytest.mark.bottle_requires("bubblewrap", "git"),
    pytest.mark.bottle(bottle="box", backend="bubblewrap"),
]

DEADLINE = 20.0


def eventually(true: Callable[[], object]) -> object:
    end = time.monotonic() + DEADLINE
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


class TestOwn:
    def test_a_push_that_breaks_off_leaves_nothing(self, bottle, sh):
        """Its guest hangs up in the middle of the pack."""
        sh(
            "git clone -q {} app; cd app; seq 1 300000 > n; git add .; git commit -qm N",
            url(bottle),
        )
        sh(
            "cd app; new=$(git rev-parse HEAD); printf '%s' $new > ../new;"
            "echo $new | git pack-objects --revs --stdout > ../pack"
        )
        script = (
            "python3 - <<'END'\n"
            "import base64, os, socket\n"
            "new = open('new').read()\n"
            "line = '0' * 40 + ' ' + new + ' refs/heads/main\\0report-status side-band-64k'\n"
            "body = f'{len(line) + 4:04x}{line}0000'.encode() + open('pack', 'rb').read()\n"
            "given = base64.b64encode(b'bottle:' + os.environ['BOTTLE_PASS'].encode()).decode()\n"
            "head = ['POST /origin/git-receive-pack HTTP/1.1', 'host: x',\n"
            "        'content-type: application/x-git-receive-pack-request',\n"
            "        f'authorization: Basic {given}', f'content-length: {len(body)}', '', '']\n"
            "s = socket.create_connection(('127.0.0.1', 4182))\n"
            "s.sendall('\\r\\n'.join(head).encode() + body[:len(body) // 2])\n"
            "s.close()\n"
            "END"
        )
        sh(script)
        incoming = bottle.git.repository() / "objects"
        assert eventually(lambda: not list(incoming.glob("*incoming*")))
        assert not bottle.git.refs()
        sh("git -C app push -q origin HEAD:main")
        assert set(bottle.git.refs()) == {"refs/heads/main"}

    def test_the_repositories_go_with_the_bottle(self, bottle):
        path = bottle.git.repository()
        assert path.is_dir()
        bottle.close()
        assert not path.exists()
        assert bottle.git.pushed == []


class TestUpstream:
    @pytest.fixture
    def remotes(self, upstream):
        return f'[bottles.box.git.remotes.origin]\nurl = "{upstream}"\n'

    def test_what_was_decided_goes_to_its_end_without_the_agent(self, bottle, sh, upstream):
        """The upstream takes its time, and the agent's git is killed meanwhile."""
        hook = upstream / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {upstream}/asked\nsleep 1\n")
        hook.chmod(0o755)
        sh("git clone -q {} app", url(bottle))
        sh("cd app; git checkout -qb late; git commit -q --allow-empty -m Late")
        push = "setsid sh -c 'echo $$ > pid; exec git -C app push -q origin late' &"
        lines = f"{push} while [ ! -e go ]; do sleep 0.05; done; kill -KILL -$(cat pid)"
        agent = threading.Thread(target=sh, args=(lines,))
        agent.start()
        assert eventually((upstream / "asked").exists)
        bottle.write_file("go", "")
        agent.join()
        assert eventually(lambda: bottle.git.pushed)
        assert bottle.git.pushed[0].new == refs(upstream)["refs/heads/late"]


def url(bottle: Bottle) -> str:
    return bottle.git.url()
