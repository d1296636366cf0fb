"""Removal of trees that a hostile guest may have shaped."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from pytest_bottle.state.tree import remove_tree


def test_files_and_directories_go(tmp_path):
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "file").write_text("x")
    (tree / "socket-like").touch()
    remove_tree(tree)
    assert not list((tmp_path).iterdir())


def test_an_absent_tree_is_fine(tmp_path):
    remove_tree(tmp_path / "absent")
    remove_tree(tmp_path / "absent" / "too")


def test_links_are_removed_and_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "inner" / "link").symlink_to(outside)
    (tree / "link").symlink_to(outside)
    remove_tree(tree)
    assert not tree.exists()
    assert (outside / "precious").exists()


def test_a_tree_that_is_a_link_is_refused(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (tmp_path / "tree").symlink_to(outside)
    with pytest.raises(NotADirectoryError):
        remove_tree(tmp_path / "tree")
    assert (outside / "precious").exists()


def test_a_tree_deeper_than_any_path_limit_goes(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    level = os.open(tree, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("nested", dir_fd=level)
        below = os.open("nested", os.O_RDONLY, dir_fd=level)
        os.close(level)
        level = below
    os.close(level)
    remove_tree(tree)
    assert not tree.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which only root can")
def test_directories_without_permissions_go_for_an_ordinary_user(start_python):
    """Permissions mean nothing to root, so another user does it."""
    with tempfile.TemporaryDirectory() as base:
        os.chown(base, 12345, 12345)
        process = start_python(
            "import os, pathlib, sys\n"
            "from pytest_bottle.state.tree import remove_tree\n"
            "os.setgid(12345); os.setuid(12345)\n"
            "tree = pathlib.Path(sys.argv[1])\n"
            "(tree / 'a' / 'b' / 'c').mkdir(parents=True)\n"
            "(tree / 'a' / 'b' / 'file').touch()\n"
            "for path in ('a/b/c', 'a/b', 'a', '.'): (tree / path).chmod(0)\n"
            "remove_tree(tree)\n",
            Path(base) / "tree",
        )
        assert process.wait(10) == 0
        assert not list(Path(base).iterdir())
