"""Plain `git clone`, `fetch` and `push` in a bottle, of a repository that needs a credential."""

from __future__ import annotations

import pytest

from tests.git.conftest import https_remote
from tests.git.upstreams import TOKEN
from tests.git.upstreams import git
from tests.git.upstreams import move_on
from tests.git.upstreams import refs

pytestmark = [
    pytest.mark.bottle_requires("bubblewrap", "git"),
    pytest.mark.bottle(bottle="box", backend="bubblewrap"),
]


@pytest.fixture
def remotes(server):
    return https_remote(server)


def test_a_clone_by_the_real_url_has_what_the_upstream_has(bottle, sh, upstream):
    sh("git clone -q {} app", bottle.git.url())
    assert sh("git -C app rev-parse HEAD").stdout.strip() == refs(upstream)["refs/heads/main"]
    assert bottle.read_file("app/README.md") == "# App\n"
    [fetch] = bottle.git.fetched
    assert fetch.refs == ("refs/heads/main",)


def test_the_url_works_without_its_ending_too(bottle, sh):
    sh("git clone -q {} app", bottle.git.url().removesuffix(".git"))
    assert bottle.read_file("app/README.md") == "# App\n"


def test_a_fetch_brings_what_the_upstream_got_meanwhile(bottle, sh, upstream):
    sh("git clone -q {} app", bottle.git.url())
    new = move_on(upstream)
    sh("git -C app pull -q")
    assert sh("git -C app rev-parse HEAD").stdout.strip() == new
    assert len(bottle.git.fetched) == 2


def test_a_push_reaches_the_upstream(bottle, sh, upstream):
    sh("git clone -q {} app", bottle.git.url())
    sh("cd app; echo done > done.txt; git add .; git commit -qm 'Be done'; git push -q")
    assert git(upstream, "show", "main:done.txt") == "done"
    [push] = bottle.git.pushed
    assert (push.remote, push.ref) == ("origin", "refs/heads/main")
    assert push.new == refs(upstream)["refs/heads/main"]
    assert [commit.subject for commit in push.commits] == ["Be done"]
    assert bottle.git.read("done.txt") == b"done\n"
    assert bottle.git.tree() == {
        "README.md": b"# App\n",
        "app.py": b"import os\n\nprint('hello')\n",
        "done.txt": b"done\n",
    }


def test_several_branches_and_a_tag_go_at_once(bottle, sh, upstream):
    bottle.git.allow_push("refs/tags/*")
    sh("git clone -q {} app", bottle.git.url())
    sh("cd app; git branch one; git checkout -qb two; git commit -q --allow-empty -m Two")
    sh("cd app; git tag -am 'First release' v1; git push -q origin one two v1")
    assert set(refs(upstream)) == {
        "refs/heads/main",
        "refs/heads/one",
        "refs/heads/two",
        "refs/tags/v1",
    }
    assert {push.ref for push in bottle.git.pushed} == set(refs(upstream)) - {"refs/heads/main"}


def test_a_branch_that_somebody_else_moved_is_not_overwritten(bottle, sh, upstream):
    """The gate finds out when it pushes: only the upstream knows."""
    sh("git clone -q {} app", bottle.git.url())
    new = move_on(upstream)
    sh("cd app; git commit -q --allow-empty -m Mine")
    done = sh("git -C app push", check=False)
    assert done.returncode
    assert "non-fast-forward" in done.stderr
    assert refs(upstream)["refs/heads/main"] == new
    [push] = bottle.git.rejected
    assert push.rule == "upstream"
    # And it can be put right.
    sh("cd app; git pull -q --rebase; git push -q")
    assert git(upstream, "log", "-1", "--format=%s", "main") == "Mine"


def test_a_push_without_a_fetch_before_it_works(bottle, sh, upstream):
    sh("mkdir app; cd app; git init -q -b other; git commit -q --allow-empty -m First")
    sh("cd app; git push -q {} other", bottle.git.url())
    assert "refs/heads/other" in refs(upstream)


def test_the_credential_stays_on_the_host(bottle, sh, server):
    sh("git clone -q {} app", bottle.git.url())
    looked = "env; cat ~/.gitconfig app/.git/config; git -C app ls-remote; cat /proc/*/environ"
    assert TOKEN not in sh(looked, check=False).stdout
    assert all(contact.welcome for contact in server.contacts)


def test_a_clone_has_no_hooks_and_no_settings_of_the_gate(bottle, sh):
    sh("git clone -q {} app", bottle.git.url())
    assert "hooksPath" not in sh("cat app/.git/config").stdout


def test_an_upstream_that_has_gone_is_told_to_git_and_to_the_test(bottle, sh, server):
    server.http.shutdown()
    server.http.server_close()
    done = sh("git clone {} app", bottle.git.url(), check=False)
    assert done.returncode
    assert "the upstream of origin cannot be reached" in done.stderr
    [failure] = bottle.git.failed
    assert failure.reason.startswith("the upstream cannot be reached")


def test_a_shallow_and_a_partial_clone_work(bottle, sh):
    sh("git clone -q --depth 1 {} shallow", bottle.git.url())
    sh("git clone -q --filter=blob:none {} partial", bottle.git.url())
    sh("cd shallow; git commit -q --allow-empty -m More; git push -q origin HEAD:refs/heads/more")
    assert [push.ref for push in bottle.git.pushed] == ["refs/heads/more"]
