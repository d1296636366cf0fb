"""The whole story: an agent is denied, asks, is allowed, and pushes; a secret stays inside.

Claude Code is real, its model is a script, and the test is its supervisor.
"""

import threading
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer

import pytest

from pytest_bottle import contains
from pytest_bottle import say
from pytest_bottle import tool

KEY = "correct-horse-battery-staple"
NOTES = "refs/heads/agent/notes"


class Tides(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"High water: 06:12\n")


@pytest.fixture
def tides():
    """A page that the agent would like to read, on this host."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Tides) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(autouse=True)
def deploy_key(monkeypatch):
    """A secret of this host's."""
    monkeypatch.setenv("DEPLOY_KEY", KEY)


@pytest.mark.bottle_requires("claude", "git", "proxy", "supervise")
@pytest.mark.bottle(agent="scout")
def test_the_scout_asks_and_pushes_without_the_secret(bottle, tides, tmp_path):
    (tmp_path / "README.md").write_text("# App\n")
    bottle.git.seed(tmp_path)
    bottle.write_file("deploy.key", KEY)  # Where it should not be, as it happens.
    bottle.supervise.expect("egress", host="127.0.0.1").approve()

    # curl takes this host's address for the bottle's own, unless it is told not to.
    fetch = f"curl -sS --noproxy '' http://{tides}"
    push = f"git add . && git commit -qm Tides && git push origin HEAD:{NOTES}"
    undo = "git reset --soft HEAD^ && git rm -qf deploy.key"
    bottle.model.script(
        tool("Skill", skill="field-notes"),
        tool("Bash", command=fetch),  # 403
        tool("mcp__supervise__request_egress", host=tides, reason="For the notes."),
        tool("Bash", command=f"git clone {bottle.git.url()} app && {fetch} > app/tides.txt"),
        tool("Bash", command=f"cp deploy.key app && cd app && {push}"),  # Rejected.
        tool("Bash", command=f"cd /workspace/app && {undo} && {push}"),
        say("Noted."),
    )

    run = bottle.run_agent("Note today's tides.").check()

    assert run.used_skill("field-notes")
    assert run.ran(contains("git push"))
    assert [request.verdict for request in bottle.egress.requests] == ["denied", "allowed"]
    assert [proposal.decision for proposal in bottle.supervise.proposals] == ["approve"]
    (rejected,) = bottle.git.rejected
    assert rejected.findings[0].rule == "secret DEPLOY_KEY"
    (pushed,) = bottle.git.pushed
    assert pushed.ref == NOTES
    assert bottle.git.tree(NOTES) == {
        "README.md": b"# App\n",
        "tides.txt": b"High water: 06:12\n",
    }
