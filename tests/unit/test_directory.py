"""The state directory: one place for all runs of a user, and a safe one."""

from __future__ import annotations

import os
import stat

import pytest

from pytest_bottle.errors import StateDirectoryError
from pytest_bottle.state import directory

MODES = {
    directory.state_root: 0o711 if os.geteuid() == 0 else 0o700,
    directory.bin_directory: 0o711 if os.geteuid() == 0 else 0o700,
    directory.images_directory: 0o711 if os.geteuid() == 0 else 0o700,
    directory.runs_directory: 0o700,
    directory.slots_directory: 0o700,
    directory.cache_directory: 0o700,
}


@pytest.mark.parametrize("make", MODES, ids=lambda make: make.__name__)
def test_directories_are_made_for_their_owner_alone(root, make):
    """Whatever the umask: only root's executables and images may be reached by others."""
    umask = os.umask(0o777)
    try:
        made = make()
    finally:
        os.umask(umask)
    assert stat.S_IMODE(made.stat().st_mode) == MODES[make]
    assert make() == made
    assert root in {made, made.parent}


def test_the_default_does_not_follow_tmpdir(monkeypatch, tmp_path):
    """Runs with temporary directories of their own have to meet."""
    monkeypatch.delenv(directory.STATE_VARIABLE, raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert tmp_path not in directory.state_root().parents


def test_a_mode_that_lets_others_in_is_corrected(root):
    root.mkdir()
    root.chmod(0o777)
    assert stat.S_IMODE(directory.state_root().stat().st_mode) == MODES[directory.state_root]


def test_a_symbolic_link_is_refused(root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    root.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateDirectoryError, match=r"not a directory.*BOTTLE_STATE_DIR"):
        directory.state_root()


def test_a_file_is_refused(root):
    root.touch()
    with pytest.raises(StateDirectoryError, match="not a directory"):
        directory.state_root()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_somebody_elses_directory_is_refused(root):
    root.mkdir()
    os.chown(root, 12345, 12345)
    with pytest.raises(StateDirectoryError, match="belongs to uid 12345"):
        directory.state_root()
