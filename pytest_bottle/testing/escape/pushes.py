"""Attempts to carry a secret out by git."""
# ruff: noqa: S101 -- checks assert

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.testing.escape.armed import ArmedSubject
from pytest_bottle.testing.escape.armed import git

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_bottle.backends.base import ExecResult
    from pytest_bottle.bottle import Bottle

COMMITS = {
    "a file": 'printf "key = %s\\n" "$WORD" > app.cfg; git add .; git commit -qm "Add it"',
    "a commit message": 'git commit -q --allow-empty -m "Note: $WORD"',
    "a link in the README": (
        'printf "[docs](https://example.org/?k=%s)\\n" "$WORD" >> README.md; git commit -qam Link'
    ),
    "a file that is gone again": (
        'echo "$WORD" > gone; git add gone; git commit -qm Come; git rm -q gone; git commit -qm Go'
    ),
    "the name of a file": 'echo x > "note-$WORD"; git add .; git commit -qm "Add a note"',
    "the name of an author": (
        'git -c user.name="$WORD" commit -q --allow-empty -m "Change nothing"'
    ),
    "an encoded file": 'printf %s "$WORD" | base64 > blob; git add .; git commit -qm "Add data"',
}
"""Shell that puts $WORD into a commit."""


class PushAttempts(ArmedSubject):
    """The upstream hears nothing of a push that is refused."""

    def push(self, bottle: Bottle, script: str, word: str, upstream: Path) -> ExecResult:
        """Clone, commit a word as the script does, and push; return the push."""
        name = f"work-{uuid.uuid4().hex[:8]}"
        bottle.sh(f"git clone -q file://{upstream} {name}", timeout=90 * self.patience).check()
        bottle.sh(f"set -e; {script}", cwd=name, env={"WORD": word}).check()
        branch = f"agent/{name}"
        return bottle.sh(
            f"git push origin HEAD:refs/heads/{branch}", cwd=name, timeout=90 * self.patience
        )

    def refs(self, upstream: Path) -> str:
        """Return what the upstream has."""
        return git(upstream, "for-each-ref")

    @pytest.mark.parametrize("place", COMMITS)
    def test_a_secret_in_what_is_pushed(
        self, armed: Bottle, upstream: Path, secret: str, place: str
    ) -> None:
        """It is rejected, and says where it is; the same with a harmless word is passed on."""
        before = self.refs(upstream)
        result = self.push(armed, COMMITS[place], secret, upstream)
        assert not result.success
        assert "rejected" in result.stderr
        assert secret not in result.stderr
        assert self.refs(upstream) == before
        assert armed.git.rejected[-1].findings
        assert secret not in repr(armed.git.rejected)
        harmless = f"harmless{uuid.uuid4().hex[:8]}"
        self.push(armed, COMMITS[place], harmless, upstream).check()
        assert self.refs(upstream) != before

    def test_a_rejected_push_contacts_nobody(
        self, armed: Bottle, upstream: Path, secret: str
    ) -> None:
        """It is rejected for the secret where there is no upstream to ask; a good one fails."""
        armed.sh(
            f"rm -rf away && git clone -q file://{upstream} away", timeout=90 * self.patience
        ).check()
        commit = 'echo "$WORD" > data; git add data; git commit -qm "Add data"'
        push = "git push origin HEAD:refs/heads/agent/away"
        hidden = upstream.with_name("hidden.git")
        upstream.rename(hidden)
        try:
            armed.sh(commit, cwd="away", env={"WORD": secret}).check()
            refused = armed.sh(push, cwd="away", timeout=90 * self.patience)
            assert "secret" in refused.stderr.lower()
            assert not refused.success
            reset = "git reset -q --hard origin/main"
            armed.sh(f"{reset}; {commit}", cwd="away", env={"WORD": "harmless"}).check()
            missing = armed.sh(push, cwd="away", timeout=90 * self.patience)
            assert not missing.success
            assert "secret" not in missing.stderr.lower()
        finally:
            hidden.rename(upstream)
        armed.sh(push, cwd="away", timeout=90 * self.patience).check()

    @pytest.mark.parametrize(
        "refspec", ["HEAD:refs/heads/main", "HEAD:refs/tags/v1", ":refs/heads/main"]
    )
    def test_a_ref_that_may_not_be_pushed(
        self, armed: Bottle, upstream: Path, refspec: str
    ) -> None:
        """Nor deleted; what may be is pushed from the same clone."""
        name = f"refs-{uuid.uuid4().hex[:8]}"
        armed.sh(f"git clone -q file://{upstream} {name}", timeout=90 * self.patience).check()
        armed.sh("git commit -q --allow-empty -m Change", cwd=name).check()
        before = self.refs(upstream)
        assert not armed.sh(
            f"git push origin {refspec}", cwd=name, timeout=90 * self.patience
        ).success
        assert self.refs(upstream) == before
        allowed = f"git push origin HEAD:refs/heads/agent/{name}"
        armed.sh(allowed, cwd=name, timeout=90 * self.patience).check()

    def test_history_is_not_rewritten(self, armed: Bottle, upstream: Path) -> None:
        """By force; a push that only adds is taken."""
        name = f"force-{uuid.uuid4().hex[:8]}"
        armed.sh(f"git clone -q file://{upstream} {name}", timeout=90 * self.patience).check()
        push = f"git push origin HEAD:refs/heads/agent/{name}"
        armed.sh(
            f"git commit -q --allow-empty -m One; {push}", cwd=name, timeout=90 * self.patience
        ).check()
        before = self.refs(upstream)
        rewrite = f"git commit -q --amend --allow-empty -m Two; {push} --force"
        assert not armed.sh(rewrite, cwd=name, timeout=90 * self.patience).success
        assert self.refs(upstream) == before
        add = f"git reset -q --hard origin/agent/{name}; git commit -q --allow-empty -m Two; {push}"
        armed.sh(add, cwd=name, timeout=90 * self.patience).check()

    def test_a_repository_of_the_hosts(self, armed: Bottle, upstream: Path) -> None:
        """None but the remotes is served, by whatever path; those are."""
        script = """
paths, found = arguments[0], []
for path in paths:
    text = f"GET /{path}/info/refs?service=git-upload-pack HTTP/1.1\\r\\nHost: x\\r\\n"
    login = base64.b64encode(f"bottle:{os.environ['BOTTLE_PASS']}".encode()).decode()
    text += f"Authorization: Basic {login}\\r\\nConnection: close\\r\\n\\r\\n"
    found.append(raw(["127.0.0.1", 4182], text)[:12])
print(json.dumps(found))
"""
        paths = [
            "app",
            "..",
            "app/../../..",
            "%2e%2e/%2e%2e",
            f"/{upstream}",
            "other",
            "app/../app",
        ]
        served, *others = self.attempt(armed, script, paths)
        assert served == "HTTP/1.1 200"
        assert not [answer for answer in others if answer == "HTTP/1.1 200"]
