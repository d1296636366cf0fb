"""What a failed test shows of its bottle's gates, in order of time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.bottle_requires("bubblewrap", "git"),
    pytest.mark.usefixtures("_proxy_environment"),
]

ASKING = Path(__file__).parent.parent / "supervise" / "asking_agent.py"

CACHE = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
"""Where the proxy's environment is. Inner runs have another home, and would make one each."""

SECRET = "k9-Vq7Lw2-TzR4-moonlit-anchovy"

MANIFEST = """
[bottles.default]
backend = "bubblewrap"
secrets = ["APP_SECRET"]
egress.allow = []
git.user = { name = "Agent", email = "agent@example.org" }
git.remotes.app = {}
supervise = { timeout = "40s" }

[bottles.default.files]
"agent.py" = "asking_agent.py"
"""

PLAIN = """
[bottles.default]
backend = "bubblewrap"
"""

TRYING = """
    import json
    import os

    def ask(bottle, **arguments):
        bottle.exec(["python3", "agent.py", "request_egress", json.dumps(arguments)]).check()

    def test_it(bottle):
        bottle.supervise.expect("egress", host="docs.example.org").reject("Not today.")
        bottle.sh("curl -s https://docs.example.org/tides")
        ask(bottle, host="docs.example.org", reason="The tides are needed.")
        bottle.sh(f"git clone -q {bottle.git.url()} app").check()
        bottle.write_file("app/key.txt", os.environ["APP_SECRET"])
        push = "git push -q origin HEAD:refs/heads/main"
        bottle.sh(f"cd app && git add . && git commit -qm 'Add a key' && {push}")
        bottle.sh(f"cd app && git commit -q --amend --allow-empty -m x && git rm -q key.txt && "
                  f"git commit -q --amend --allow-empty -m 'Add nothing' && {push}").check()
        assert bottle.git.rejected == []
"""


@pytest.fixture(autouse=True)
def _suite(pytester, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", CACHE)
    monkeypatch.setenv("APP_SECRET", SECRET)
    (pytester.path / "bottle.toml").write_text(MANIFEST)
    shutil.copy(ASKING, pytester.path)


def test_all_is_told_in_the_order_in_which_it_came(pytester, run):
    pytester.makepyfile(TRYING)
    result = run("--bottle-artifacts=evidence", "--no-showlocals")
    result.assert_outcomes(failed=1)
    told = [
        "denied 403 CONNECT docs.example.org:443 (no rule): *",
        "rejected egress: requests to docs.example.org (by the expectation)",
        "asked because: The tides are needed.",
        "decided because: Not today.",
        'rejected refs/heads/main to app (secret): "Add a key"',
        "key.txt*line 1: secret APP_SECRET: *",
        'pushed refs/heads/main to app: "Add nothing"',
    ]
    result.stdout.fnmatch_lines(["gates: the last 4 of 4, *", *(f"*{line}" for line in told)])
    # What git keeps in the new clone is counted, and not shown.
    result.stdout.re_match_lines(
        [r"workspace: 0 changes since it was provisioned, and \d+ in repositories that are new"]
    )
    result.stdout.no_fnmatch_line("*app/.git*")
    (page,) = (pytester.path / "evidence").rglob("transcript.html")
    for words in ("At its gates (4)", "Not today.", "secret APP_SECRET", "Add nothing"):
        assert words in page.read_text()
    files = [path for path in (pytester.path / "evidence").rglob("*") if path.is_file()]
    assert len(files) >= 5
    for text in (result.stdout.str(), *(path.read_text() for path in files)):
        assert SECRET not in text


def test_what_changes_in_a_repository_that_was_there_is_shown(pytester, run):
    (pytester.path / "bottle.toml").write_text(PLAIN)
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle(files={".git/config": {"text": "[core]"}})
        def test_it(bottle):
            bottle.write_file(".git/hooks/pre-commit", "rm -rf /")
            assert False
        """
    )
    result = run()
    result.stdout.fnmatch_lines(["workspace: 1 changes since it was provisioned", "*pre-commit"])


def test_a_bottle_without_gates_has_no_such_part(pytester, run):
    (pytester.path / "bottle.toml").write_text(PLAIN)
    pytester.makepyfile("def test_it(bottle): assert False")
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("gates:*")
