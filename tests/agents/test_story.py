"""One task at whose end all parts of a bottle's door have been used, by a real CLI.

An agent looks something up that its bottle may not reach, asks for it, and pushes what it found; a
secret that it would push with it stays inside.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_bottle import contains
from pytest_bottle import say
from pytest_bottle import tool
from pytest_bottle.manifest import load_manifest
from tests.agents.clis import on_claude
from tests.egress.servers import site
from tests.git.upstreams import git
from tests.git.upstreams import make_repository
from tests.git.upstreams import refs

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

    from pytest_bottle.gateway.turns import Turn
    from pytest_bottle.gateway.values import ModelRequest
    from pytest_bottle.manifest import Manifest
    from tests.egress.servers import Site

SECRET = "k9-Vq7Lw2-TzR4-moonlit-anchovy"
NOTES = "refs/heads/agent/notes"
PAGE = "hello from /tides"


@pytest.fixture
def web() -> Iterator[Site]:
    """The page that the agent wants, on this host: the bottle has no way to it."""
    with site() as found:
        yield found


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """The repository that the agent pushes to."""
    return make_repository(tmp_path / "app.git", {"README.md": "# App\n"})


@pytest.fixture
def bottle_manifest(tmp_path: Path, upstream: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    monkeypatch.setenv("APP_SECRET", SECRET)
    (tmp_path / "skills").symlink_to(Path(__file__).parent / "skills")
    path = tmp_path / "bottle.toml"
    path.write_text(
        f"""
[agents.claude-scout]
bottle = "box"
skills = ["field-notes"]

[bottles.box]
timeout = "4m"
secrets = ["APP_SECRET"]
supervise = {{ timeout = "1m" }}
egress.allow = ["docs.example.org"]
git.user = {{ name = "Scout", email = "scout@example.org" }}
git.remotes.origin = {{ url = "{upstream}", allow_push = ["{NOTES}"] }}
"""
    )
    return load_manifest(path)


def once(seen: str, turn: Turn) -> Callable[[ModelRequest], Turn]:
    """Return a turn of a model that does something because of what its last tool answered."""

    def answer(request: ModelRequest) -> Turn:
        results = [message for message in map(str, request.messages) if "tool_result" in message]
        assert seen in results[-1]
        return turn

    return answer


@pytest.mark.bottle_requires("git")
@on_claude("scout")
def test_an_agent_asks_for_a_page_and_pushes_it_without_the_secret(bottle, cli, web, upstream):
    bottle.write_file("credentials.env", f"APP_SECRET={SECRET}\n")
    bottle.supervise.expect("egress", host="127.0.0.1", port=str(web.port)).approve()
    fetch = f"curl -sS --noproxy '' -w ' (%{{http_code}})' {web.url}/tides"
    request_egress = tool(
        "mcp__supervise__request_egress", host=web.host, reason="The tides are needed."
    )
    write = (
        f"git clone -q file://{upstream} app && cd app && mkdir notes && "
        f"{fetch} -o notes/tides.txt && cp ../credentials.env notes && "
        "git add . && git commit -qm 'Note the tides'"
    )
    push = f"git push origin HEAD:{NOTES}"
    amend = "cd /workspace/app && git rm -q notes/credentials.env && git commit -q --amend -m Tides"
    bottle.model.script(
        cli.load_skill("field-notes"),
        once("push to `agent/notes`", cli.shell(fetch)),
        once("(403)", request_egress),
        once("was approved", cli.shell(fetch)),
        once("(200)", cli.shell(write)),
        once("(200)", cli.shell(f"cd /workspace/app && {push}")),
        once("notes/credentials.env", cli.shell(f"{amend} && {push}")),
        once("agent/notes", say("The tides are noted.")),
    )

    run = bottle.run_agent("Note today's tides.").check()

    # What the agent said and did.
    assert run.text == "The tides are noted."
    assert run.used_skill("field-notes")
    assert run.called("mcp__supervise__request_egress", host=web.host)
    assert run.ran(contains("git push"))
    rejected = run.tool_calls[5]
    assert rejected.error
    assert "rejected" in rejected.output
    assert "secret APP_SECRET" in rejected.output
    # What it reached.
    assert [request.verdict for request in bottle.egress.requests] == [
        *("denied", "allowed", "allowed")
    ]
    (denied,) = bottle.egress.denied
    assert (denied.host, denied.port, denied.status) == ("127.0.0.1", web.port, 403)
    assert {request.rule for request in bottle.egress.allowed} == {web.host}
    assert [seen.path for seen in web.seen] == ["/tides", "/tides"]
    # What it asked for.
    (proposal,) = bottle.supervise.proposals
    assert (proposal.kind, proposal.decision, proposal.by) == ("egress", "approve", "expectation")
    assert proposal.reason == "The tides are needed."
    # What it pushed.
    (held,) = bottle.git.rejected
    assert (held.ref, held.rule) == (NOTES, "secret")
    (finding,) = held.findings
    assert (finding.where.split()[0], finding.line) == ("notes/credentials.env", 1)
    assert finding.rule == "secret APP_SECRET"
    (pushed,) = bottle.git.pushed
    assert refs(upstream)[NOTES] == pushed.new
    assert [commit.subject for commit in pushed.commits] == ["Tides"]
    assert git(upstream, "show", f"{NOTES}:notes/tides.txt") == PAGE
    assert "credentials" not in git(upstream, "ls-tree", "-r", "--name-only", NOTES)
    assert SECRET not in repr((bottle.egress.requests, bottle.git.rejected, proposal))
