"""A remote without an upstream: a repository of the test's own, which it seeds and reads."""

from __future__ import annotations

import pytest

from pytest_bottle.errors import UnsafePathError
from tests.git.conftest import SECRET
from tests.git.upstreams import commit
from tests.git.upstreams import git

pytestmark = [
    pytest.mark.bottle_requires("bubblewrap", "git"),
    pytest.mark.bottle(bottle="box", backend="bubblewrap"),
]


@pytest.fixture
def project(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    (project / "app.py").write_text("print('hello')\n")
    return project


def test_a_directory_becomes_a_commit(bottle, sh, project):
    bottle.git.seed(project)
    sh("git clone -q {} app", bottle.git.url())
    assert bottle.read_file("app/app.py") == "print('hello')\n"
    assert sh("git -C app branch --show-current").stdout == "main\n"


def test_pushes_land_there(bottle, sh, project):
    bottle.git.seed(project)
    sh("git clone -q {} app", bottle.git.url())
    sh("cd app; echo 1 > one; git add .; git commit -qm One; git push -q origin HEAD:two")
    assert bottle.git.tree("refs/heads/two") == {"app.py": b"print('hello')\n", "one": b"1\n"}
    assert bottle.git.tree() == {"app.py": b"print('hello')\n"}
    assert [push.ref for push in bottle.git.pushed] == ["refs/heads/two"]


def test_an_empty_one_takes_a_first_push(bottle, sh):
    sh("git clone -q {} app", bottle.git.url())
    sh("cd app; echo 1 > one; git add .; git commit -qm One; git push -q origin HEAD")
    assert bottle.git.read("one") == b"1\n"


def test_secrets_do_not_land_there(bottle, sh, project):
    bottle.git.seed(project)
    sh("git clone -q {} app", bottle.git.url())
    sh("cd app; echo {} > key; git add .; git commit -qm Key", SECRET)
    assert "[remote rejected]" in sh("git -C app push", check=False).stderr
    assert "key" not in bottle.git.tree()
    path = bottle.git.repository()
    assert not list(path.glob("objects/*incoming*"))
    kept = git(path, "cat-file", "--batch-check", "--batch-all-objects").splitlines()
    assert len(kept) == 3  # The seed's commit, tree and file, and nothing of the push.


def test_a_repository_gives_its_branches_and_tags(bottle, sh, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    git(source, "init", "-q", "-b", "trunk")
    commit(source, "First", {"a": "1"})
    git(source, "tag", "v1")
    git(source, "branch", "side")
    hook = source / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    bottle.git.seed(source)
    assert set(bottle.git.refs()) == {"refs/heads/trunk", "refs/heads/side", "refs/tags/v1"}
    sh("git clone -q {} app", bottle.git.url())
    assert sh("git -C app branch --show-current").stdout == "trunk\n"


def test_seeding_again_adds_a_commit(bottle, project):
    bottle.git.seed(project)
    (project / "app.py").write_text("print('bye')\n")
    bottle.git.seed(project)
    assert bottle.git.read("app.py") == b"print('bye')\n"
    assert len(git(bottle.git.repository(), "rev-list", "main").split()) == 2


def test_a_link_that_leads_out_of_what_is_seeded_is_refused(bottle, project, tmp_path):
    (tmp_path / "outside").write_text("private")
    (project / "link").symlink_to("../outside")
    with pytest.raises(UnsafePathError, match="leads out"):
        bottle.git.seed(project)
    assert not bottle.git.refs()


def test_what_is_not_there_is_told_from_what_is(bottle, project):
    with pytest.raises(LookupError, match="no refs yet"):
        bottle.git.tree()
    bottle.git.seed(project)
    with pytest.raises(FileNotFoundError, match="no file b"):
        bottle.git.read("b")
    with pytest.raises(ValueError, match="none is called 'other'"):
        bottle.git.url("other")


def test_a_broken_pack_is_refused_and_recorded(bottle, sh):
    """As git's own check finds it: a file whose name is that of git's directory."""
    sh("git init -q -b main app; cd app; git config user.name A; git config user.email a@b.c")
    sh(
        "cd app; blob=$(echo x | git hash-object -w --stdin);"
        "tree=$(printf '100644 blob %s\\t.git\\n' $blob | git mktree);"
        "git update-ref refs/heads/main $(git commit-tree $tree -m Odd)"
    )
    done = sh("git -C app push {} main", bottle.git.url(), check=False)
    assert done.returncode
    assert not bottle.git.refs()
    [push] = bottle.git.rejected
    assert (push.ref, push.rule) == ("refs/heads/main", "git")


def test_a_replacement_does_not_hide_a_secret(bottle, sh):
    bottle.git.allow_push("refs/*")
    sh("git init -q -b main app; cd app; git commit -q --allow-empty -m Clean")
    sh(
        "cd app; git checkout -q --orphan bad; echo {} > key; git add .; git commit -qm Bad;"
        "git replace bad main",
        SECRET,
    )
    push = "git -C app push {} bad main 'refs/replace/*:refs/replace/*'"
    assert "[remote rejected]" in sh(push, bottle.git.url(), check=False).stderr
    assert not bottle.git.refs()


def test_large_pushes_come_in_chunks(bottle, sh):
    """Larger than `http.postBuffer`: git sends them with no length."""
    sh("git init -q -b main app; cd app; seq 1 400000 > numbers; git add .; git commit -qm Many")
    sh(
        "cd app; git -c http.postBuffer=65536 -c core.compression=0 push -q {} main",
        bottle.git.url(),
    )
    assert bottle.git.read("numbers").endswith(b"\n400000\n")


class TestTwoRemotes:
    @pytest.fixture
    def remotes(self):
        return "[bottles.box.git.remotes.one]\n[bottles.box.git.remotes.two]\nallow_push = []\n"

    def test_one_must_be_named(self, bottle):
        with pytest.raises(ValueError, match=r"one, two: name one with remote="):
            bottle.git.tree()

    def test_they_are_apart(self, bottle, sh, project):
        bottle.git.seed(project, remote="one")
        sh("git clone -q {} one; git clone -q {} two", *map(bottle.git.url, ("one", "two")))
        assert bottle.exists("one/app.py")
        assert not bottle.exists("two/app.py")

    def test_one_may_be_there_to_be_read_only(self, bottle, sh, project):
        bottle.git.seed(project, remote="two")
        sh("git clone -q {} two; git -C two commit -q --allow-empty -m More", bottle.git.url("two"))
        assert "allow_push is nothing" in sh("git -C two push", check=False).stderr


def test_a_branch_of_a_bottle_has_a_repository_of_its_own(bottle, sh, project):
    bottle.git.seed(project)
    sh("git clone -q {} app", bottle.git.url())
    with bottle.branch() as other:
        assert other.git.tree() == bottle.git.tree()
        push = "cd app; git commit -q --allow-empty -m Other; git push -q origin HEAD:other"
        other.exec(["sh", "-ec", push]).check()
        assert "refs/heads/other" in other.git.refs()
    assert "refs/heads/other" not in bottle.git.refs()
    assert not bottle.git.pushed
