"""A push is held: whatever has a secret in it does not reach the upstream, in whatever it is."""

from __future__ import annotations

import io
import zipfile

import pytest

from tests.git.conftest import SECRET
from tests.git.conftest import https_remote
from tests.git.upstreams import git
from tests.git.upstreams import refs

pytestmark = [
    pytest.mark.bottle_requires("bubblewrap", "git"),
    pytest.mark.bottle(bottle="box", backend="bubblewrap"),
]


@pytest.fixture
def remotes(server):
    return https_remote(server, 'allow_push = ["refs/heads/*", "refs/tags/*"]')


@pytest.fixture
def refused(bottle, sh, server, upstream):
    """Clone, run lines that end in a push, and return what git said when it was rejected."""

    def refused(script, *arguments):
        sh("git clone -q {} app", bottle.git.url())
        before, contacts = refs(upstream), len(server.contacts)
        done = sh(f"cd app; {script}", *arguments, check=False)
        assert done.returncode
        assert "[remote rejected]" in done.stderr
        assert SECRET not in done.stderr.replace(f"HEAD -> {SECRET}", "")  # Git's own words.
        assert len(server.contacts) == contacts  # Not even its refs were asked for.
        assert refs(upstream) == before
        assert not bottle.git.pushed
        return done.stderr

    return refused


COMMIT = "git add .; git commit -qm 'Go on';"


class TestSecrets:
    def test_in_a_file(self, bottle, refused):
        said = refused("printf 'a\\nb\\nkey = %s\\n' {} > conf.ini; " + COMMIT + "git push", SECRET)
        assert "remote: conf.ini:3 in commit" in said
        assert "(secret in conf.ini:3 in commit" in said
        [push] = bottle.git.rejected
        assert (push.ref, push.rule) == ("refs/heads/main", "secret")
        [finding] = push.findings
        assert finding.rule == "secret APP_SECRET"
        assert finding.line == 3
        assert SECRET not in repr(push)

    def test_in_a_commits_message(self, bottle, refused):
        refused("git commit -q --allow-empty -m Fix -m 'with '{}; git push", SECRET)
        [push] = bottle.git.rejected
        assert push.findings[0].where.endswith("message")
        assert [commit.subject for commit in push.commits] == ["[redacted]"]

    def test_in_an_authors_name(self, bottle, refused):
        refused("git commit -q --allow-empty -m Fix --author {}; git push", f"{SECRET} <a@b.c>")
        assert bottle.git.rejected[0].findings[0].where.endswith("who made it")

    def test_in_a_link(self, refused):
        link = f"![build](https://example.org/status.svg?data={SECRET})"
        said = refused("echo {} >> README.md; " + COMMIT + "git push", link)
        assert "README.md:2" in said

    def test_in_a_file_that_a_later_commit_removes(self, refused):
        lines = "echo {} > key; " + COMMIT + "git rm -q key; git commit -qm Clean; git push"
        assert "key:1 in commit" in refused(lines, SECRET)

    def test_in_a_tags_message(self, bottle, refused):
        refused("git tag -a v1 -m {}; git push origin v1", SECRET)
        assert bottle.git.rejected[0].ref == "refs/tags/v1"

    def test_in_a_merge(self, refused):
        """In neither of the commits that it merges."""
        refused(
            "git checkout -qb side; echo 1 > one; " + COMMIT + "git checkout -q main;"
            "echo 2 > two; " + COMMIT + "git merge -q --no-commit side; echo {} > three;"
            "git add .; git commit -qm Merge; git push",
            SECRET,
        )

    def test_in_a_zip_file(self, bottle, refused):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("inner.txt", f"x\n{SECRET}\n" * 50)
        bottle.write_file("work.zip", archive.getvalue())
        refused("cp ../work.zip .; " + COMMIT + "git push")

    def test_in_a_binary_file(self, refused):
        refused("printf '\\000\\001%s\\000' {} > blob; " + COMMIT + "git push", SECRET)

    def test_in_base64(self, refused):
        refused("printf 'x%s' {} | base64 > blob; " + COMMIT + "git push", SECRET)

    def test_in_a_files_name(self, bottle, refused):
        refused("touch {}; " + COMMIT + "git push", SECRET)
        assert bottle.git.rejected[0].findings[0].where == "a file's name"

    def test_in_a_branchs_name(self, bottle, refused):
        refused("git push origin HEAD:refs/heads/{}", SECRET)
        assert SECRET not in repr(bottle.git.rejected)

    def test_the_bottles_own_pass(self, refused):
        refused('echo "$BOTTLE_PASS" > pass; ' + COMMIT + "git push")

    def test_what_was_put_right_passes(self, bottle, refused, sh, upstream):
        refused("echo {} > key; " + COMMIT + "git push", SECRET)
        sh("cd app; echo no > key; git add .; git commit -q --amend --no-edit; git push -q")
        assert git(upstream, "show", "main:key") == "no"
        assert len(bottle.git.pushed) == len(bottle.git.rejected) == 1

    def test_one_branch_with_a_secret_holds_back_the_others(self, bottle, refused):
        refused(
            "git branch good; echo {} > key; " + COMMIT + "git push origin main good",
            SECRET,
        )
        assert {push.ref for push in bottle.git.rejected} == {"refs/heads/main", "refs/heads/good"}


class TestRefs:
    def test_nothing_is_overwritten(self, bottle, refused):
        said = refused("git commit -q --amend -m Other; git push --force")
        assert "non-fast-forward" in said
        assert bottle.git.rejected[0].rule == "force"

    def test_nothing_is_deleted(self, bottle, refused):
        assert "nothing is deleted" in refused("git push origin :main")
        assert bottle.git.rejected[0].rule == "delete"

    def test_a_ref_that_is_not_allowed(self, bottle, refused):
        assert "allow_push is" in refused("git push origin HEAD:refs/notes/x")
        assert bottle.git.rejected[0].rule == "ref"

    def test_it_may_be_allowed_meanwhile(self, bottle, refused, sh, upstream):
        refused("git push origin HEAD:refs/notes/x")
        bottle.git.allow_push("refs/notes/*")
        sh("git -C app push -q origin HEAD:refs/notes/x")
        assert "refs/notes/x" in refs(upstream)

    def test_a_push_without_a_fetch_asks_the_upstream_nothing(self, bottle, sh, server):
        sh("mkdir app; cd app; git init -q -b main; echo {} > key; " + COMMIT, SECRET)
        done = sh("git -C app push {} main", bottle.git.url(), check=False)
        assert "[remote rejected]" in done.stderr
        assert not server.contacts


@pytest.mark.parametrize(
    "path",
    [
        "/origin/HEAD",
        "/origin/objects/info/packs",
        "/origin/config",
        "/origin/info/refs",
        "/origin/info/refs?service=git-upload-archive",
        "/origin/../../door/info/refs?service=git-upload-pack",
        "/origin%2f..%2forigin/info/refs?service=git-upload-pack",
        "/other/info/refs?service=git-upload-pack",
        "//origin/info/refs?service=git-upload-pack",
    ],
)
def test_nothing_but_the_smart_protocol_is_served(sh, path):
    ask = 'curl -s --path-as-is -o /dev/null -w "%{http_code}" -u "bottle:$BOTTLE_PASS" "$URL"'
    done = sh(f"URL=http://127.0.0.1:4182{path}; {ask}")
    assert done.stdout in {"403", "404"}


def test_nobody_is_let_in_without_the_pass(sh):
    where = "http://127.0.0.1:4182/origin/info/refs?service=git-upload-pack"
    done = sh(f'curl -s -o /dev/null -w "%{{http_code}}" -u bottle:wrong "{where}"')
    assert done.stdout == "401"
