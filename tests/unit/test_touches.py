"""Whether a path of the workspace was touched."""

from __future__ import annotations

import pytest

from pytest_bottle.changes import Diff
from pytest_bottle.changes import FileState
from pytest_bottle.touches import below_workdir
from pytest_bottle.touches import touched
from pytest_bottle.touches import untouched


def diff(*paths: str) -> Diff:
    return Diff({}, {path: FileState("file 644 x", "text\n") for path in paths})


@pytest.mark.parametrize("path", ["app.py", "src", "src/deep", "*.py", "src/*", "src/deep/b.txt"])
def test_a_path_covers_itself_and_what_is_below(path):
    assert touched(diff("app.py", "src/deep/b.txt"), path)


@pytest.mark.parametrize("path", ["app", "app.pyc", "sr", "deep", "*.md", "other/app.py"])
def test_it_covers_no_neighbour(path):
    assert not touched(diff("app.py", "src/deep/b.txt"), path)
    assert untouched(diff("app.py", "src/deep/b.txt"), path)


def test_the_whole_workspace_can_be_asked_for():
    assert touched(diff("a"), ".")
    assert untouched(diff(), ".")


def test_what_was_touched_instead_is_said_where_it_is_missed():
    misses: list[str] = []

    finding = touched(diff("other.py"), "app.py", misses)

    assert not finding
    assert repr(finding) == "<app.py was not touched; touched: other.py>"
    assert misses == ["app.py was not touched.\nchanges:\n  added: other.py"]


def test_how_a_path_was_touched_is_said_where_it_should_not_be():
    misses: list[str] = []

    finding = untouched(diff("secrets/key"), "secrets", misses)

    assert not finding
    assert repr(finding) == "<secrets was touched: added secrets/key>"
    assert misses == ["secrets was touched.\nchanges:\n  added: secrets/key"]


@pytest.mark.parametrize(
    ("path", "found"),
    [("a/b", "a/b"), ("./a//b/", "a/b"), ("/workspace/a", "a"), (".", "."), ("/workspace", ".")],
)
def test_paths_are_taken_below_the_workdir(path, found):
    assert below_workdir(path, "/workspace") == found


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "/workspaces/a"])
def test_other_paths_are_refused(path):
    with pytest.raises(ValueError, match="only there are changes known"):
        below_workdir(path, "/workspace")
