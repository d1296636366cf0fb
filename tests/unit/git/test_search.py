"""The search through what a push brings, on real repositories, in this process."""

from __future__ import annotations

import sys

import pytest

from pytest_bottle.gateway.git import search
from pytest_bottle.gateway.git.environment import plain_environment
from pytest_bottle.gateway.git.search import Question
from pytest_bottle.gateway.git.search import Search
from tests.git.upstreams import commit
from tests.git.upstreams import git

SECRET = "k9-Vq7Lw2-TzR4-moonlit-anchovy"

GITLEAKS = """\
#!{python}
import json, pathlib, sys
directory = pathlib.Path(sys.argv[2])
found = [
    {{"RuleID": "odd-word", "Secret": "abracadabra-abracadabra", "File": str(path), "StartLine": 2}}
    for path in directory.iterdir() if b"abracadabra" in path.read_bytes()
]
pathlib.Path(sys.argv[sys.argv.index("--report-path") + 1]).write_text(json.dumps(found))
"""
"""As it is called, with a rule of its own."""


@pytest.fixture
def work(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    commit(work, "First", {"old.txt": SECRET})
    git(work, "update-ref", "refs/heads/known", "HEAD")
    return work


@pytest.fixture
def findings(work):
    """Search what is new in `main`, for who has `known`."""

    def findings():
        tip = git(work, "rev-parse", "main")
        git(work, "checkout", "-q", "--detach")
        git(work, "branch", "-q", "-D", "main")
        question = Question(
            repository=str(work / ".git"),
            objects={},
            env=plain_environment(),
            refs={"refs/heads/main": tip},
            secrets={"APP": SECRET},
        )
        git(work, "checkout", "-q", "known")
        return list(Search(question).findings())

    return findings


def test_what_was_there_before_is_not_searched(work, findings):
    commit(work, "Second", {"new.txt": "nothing"})
    assert findings() == []


def test_a_secret_is_found_across_two_windows(work, findings, monkeypatch):
    monkeypatch.setattr(search, "WINDOW", 2**17)
    lines = [f"line {number}" for number in range(30_000)]
    lines[11_000] = SECRET
    start = len("\n".join(lines[:11_000])) + 1
    lines[0] += "x" * (2**18 - start - len(SECRET) // 2 - 10)
    commit(work, "Second", {"long.txt": "\n".join(lines)})
    [finding] = findings()
    assert finding.line == 11_001


def test_a_file_that_only_moved_is_known_by_its_new_name(work, findings):
    git(work, "mv", "old.txt", SECRET)
    git(work, "commit", "-qm", "Move")
    [finding] = findings()
    assert (finding.where, finding.line) == ("a file's name", None)


def test_the_names_of_objects_and_signatures_are_no_secrets(work, findings):
    tree = git(work, "rev-parse", "HEAD^{tree}")
    parent = git(work, "rev-parse", "HEAD")
    signature = "\n ".join(["-----BEGIN PGP SIGNATURE-----", "", "iQIzBAABCAAdFiEE" * 4, "=aXk9"])
    text = (
        f"tree {tree}\nparent {parent}\nauthor A <a@b.c> 1 +0000\ncommitter A <a@b.c> 1 +0000\n"
        f"gpgsig {signature}\n\nReverts {parent}\n"
    )
    (work.parent / "commit").write_text(text)
    new = git(work, "hash-object", "-t", "commit", "-w", str(work.parent / "commit"))
    git(work, "reset", "-q", "--hard", new)
    assert findings() == []


def test_gitleaks_is_asked_where_it_is_installed(work, findings, tmp_path, monkeypatch):
    program = tmp_path / "bin" / "gitleaks"
    program.parent.mkdir()
    program.write_text(GITLEAKS.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    commit(work, "Second", {"dir/.gitleaksignore": "x\nabracadabra\n"})
    [finding] = findings()
    assert (finding.rule, finding.where, finding.line) == ("odd-word", "dir/.gitleaksignore", 2)
