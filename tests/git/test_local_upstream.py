"""A remote that stands for a path on this host."""

from __future__ import annotations

import pytest

from tests.git.upstreams import git
from tests.git.upstreams import move_on
from tests.git.upstreams import refs

pytestmark = [
    pytest.mark.bottle_requires("bubblewrap", "git"),
    pytest.mark.bottle(bottle="box", backend="bubblewrap"),
]


@pytest.fixture
def remotes(upstream):
    return f'[bottles.box.git.remotes.origin]\nurl = "{upstream}"\n'


def test_it_is_cloned_and_pushed_to_by_its_path(bottle, sh, upstream):
    sh("git clone -q {} app", f"file://{upstream}")
    sh("cd app; git commit -q --allow-empty -m More; git push -q {} main", str(upstream))
    assert git(upstream, "log", "-1", "--format=%s", "main") == "More"
    assert bottle.git.pushed[0].new == refs(upstream)["refs/heads/main"]


def test_it_is_cloned_by_the_gates_url(bottle, sh):
    sh("git clone -q {} app", bottle.git.url())
    assert bottle.exists("app/README.md")


def test_what_its_own_hook_refuses_is_told(bottle, sh, upstream):
    hook = upstream / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho not on Sundays >&2\nexit 1\n")
    hook.chmod(0o755)
    sh("git clone -q {} app", bottle.git.url())
    done = sh("cd app; git commit -q --allow-empty -m More; git push", check=False)
    assert "by the upstream: pre-receive hook declined" in done.stderr
    assert "not on Sundays" in done.stderr
    assert bottle.git.rejected[0].rule == "upstream"


def test_a_branch_that_went_away_goes_away(bottle, sh, upstream):
    git(upstream, "branch", "old")
    sh("git clone -q {} app", bottle.git.url())
    git(upstream, "branch", "-D", "old")
    git(upstream, "branch", "old/er")
    new = move_on(upstream)
    sh("git -C app fetch -q --prune")
    listed = sh("git -C app branch -r --format '%(refname:short)'").stdout.split()
    assert set(listed) - {"origin", "origin/HEAD"} == {"origin/main", "origin/old/er"}
    assert sh("git -C app rev-parse origin/main").stdout.strip() == new
