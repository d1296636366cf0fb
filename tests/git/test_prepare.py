"""What is wrong with a remote is said before its bottle starts: file, key and what to do."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from pytest_bottle.door_plan import CredentialPlan
from pytest_bottle.door_plan import RemotePlan
from pytest_bottle.gateway.git.upstream import check_upstream
from pytest_bottle.state.directory import STATE_VARIABLE
from tests.git.conftest import https_remote
from tests.git.upstreams import TOKEN
from tests.git.upstreams import USER
from tests.plugin.conftest import INNER_OPTIONS

pytestmark = pytest.mark.bottle_requires("bubblewrap", "git")

TESTS = """
    import pytest

    @pytest.mark.parametrize("n", range(2))
    @pytest.mark.bottle(bottle="box", backend="bubblewrap")
    def test_it(bottle, n):
        print("it was started")
"""


@pytest.fixture
def inner(pytester, monkeypatch):
    """Run tests of a bottle with some remote."""

    def inner(remote):
        pytester.makefile(".toml", bottle=f"[bottles.box]\n{remote}")
        pytester.makepyfile(TESTS)
        return pytester.runpytest_subprocess(*INNER_OPTIONS, "-rs")

    # Short, for the sockets in it; and root's sandboxes run bwrap from there as somebody else.
    with tempfile.TemporaryDirectory(prefix="bp-", dir="/tmp") as root:
        Path(root).chmod(0o711)
        monkeypatch.setenv(STATE_VARIABLE, root)
        monkeypatch.setenv("COLUMNS", "250")
        yield inner


def test_a_password_that_nobody_would_type_is_asked_for(inner, server):
    result = inner(f'[bottles.box.git.remotes.origin]\nurl = "{server.url}/app.git"\n')
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        [
            "*bottle.toml: bottles.box.git.remotes.origin.url: it asks for a password, and nobody "
            "is there to type it (*Name the variable that holds its token: auth.token_ref."
        ]
    )
    result.stdout.no_fnmatch_line("*it was started*")
    assert len(server.seen) == 1  # Once for the run.
    assert not server.contacts


def test_a_token_that_is_wrong_is_not_told(inner, server, monkeypatch):
    monkeypatch.setenv("UPSTREAM_TOKEN", "wrong-token-0815")
    result = inner(https_remote(server))
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*Correct UPSTREAM_TOKEN, or auth.scheme and auth.username.*"])
    result.stdout.no_fnmatch_line("*wrong-token-0815*")


def test_a_directory_that_is_no_repository(inner, tmp_path):
    result = inner(f'[bottles.box.git.remotes.origin]\nurl = "{tmp_path}"\n')
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*remotes.origin.url: it cannot be used as a repository:*"])


def test_a_password_in_the_url(inner):
    result = inner('[bottles.box.git.remotes.origin]\nurl = "ssh://git:pw@example.org/a.git"\n')
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*has a name or a password in it*"])


def test_a_right_token_opens_it(server):
    auth = CredentialPlan(token_ref="UPSTREAM_TOKEN", scheme="basic", username=USER)
    remote = RemotePlan(name="origin", url=f"{server.url}/app.git", credential=auth)
    assert check_upstream(remote, TOKEN) == ""


def test_a_host_without_git_cannot_have_one(inner, monkeypatch, tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    result = inner("[bottles.box.git.remotes.origin]\n")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*git: no git on PATH Fix: install git 2.30*"])
