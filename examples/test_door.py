"""What a bottle may reach: web hosts by a proxy, repositories by a gate, the rest by asking for it.

There is no network in the bottle. `behaviour/test_story.py` has the same with an agent.
"""

import pytest

pytestmark = [
    pytest.mark.bottle_requires("git", "proxy", "supervise"),
    pytest.mark.bottle(bottle="guarded"),
]


@pytest.fixture(autouse=True)
def deploy_key(monkeypatch):
    """A secret of this host's, which must not leave the bottle should it ever get in."""
    monkeypatch.setenv("DEPLOY_KEY", "correct-horse-battery-staple")


def test_only_what_is_allowed_is_reached(bottle):
    """The answer says why, and `bottle.egress` keeps all requests, the allowed ones too."""
    answer = bottle.sh("curl -sS http://intranet.example.com/payroll").stdout

    assert "denied" in answer
    (request,) = bottle.egress.requests
    assert (request.verdict, request.host) == ("denied", "intranet.example.com")


def test_a_push_with_a_secret_is_turned_away(bottle, tmp_path):
    """The repository is the test's own; with a `url` in the manifest it would be a real one."""
    (tmp_path / "README.md").write_text("# App\n")
    bottle.git.seed(tmp_path)
    bottle.sh(f"git clone -q {bottle.git.url()} app").check()
    push = "git add . && git commit -qm Deploy && git push -q origin HEAD:agent/deploy"

    bottle.write_file("app/deploy.cfg", "key = correct-horse-battery-staple\n")
    assert not bottle.sh(push, cwd="app").success
    bottle.write_file("app/deploy.cfg", "key = $DEPLOY_KEY\n")
    bottle.sh("git reset -q --soft origin/main", cwd="app").check()
    bottle.sh(push, cwd="app").check()

    (finding,) = bottle.git.rejected[0].findings
    assert finding.rule == "secret DEPLOY_KEY"
    assert finding.where.startswith("deploy.cfg")
    assert bottle.git.read("deploy.cfg", "refs/heads/agent/deploy") == b"key = $DEPLOY_KEY\n"


def test_who_is_denied_can_ask(bottle):
    """The test decides, and an approval would hold at once."""
    bottle.supervise.expect("egress", host="*.example.com").reject("Ask for the documentation.")

    answer = bottle.exec(["/opt/ask", "intranet.example.com", "I am curious."]).check().stdout

    assert "Ask for the documentation" in answer
    (proposal,) = bottle.supervise.proposals
    assert (proposal.decision, proposal.reason) == ("reject", "I am curious.")
