"""The cache of images: whole entries, one maker at a time, and nothing that stays for ever."""

from __future__ import annotations

import os
import stat
import threading
import time
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.backends.smolmachines import cache
from pytest_bottle.backends.smolmachines.cache import ARCHIVE
from pytest_bottle.backends.smolmachines.cache import PACK
from pytest_bottle.backends.smolmachines.cache import Facts
from pytest_bottle.backends.smolmachines.cache import add_cached
from pytest_bottle.backends.smolmachines.cache import find_cached
from pytest_bottle.backends.smolmachines.cache import list_cached
from pytest_bottle.backends.smolmachines.cache import remove_cached
from pytest_bottle.backends.smolmachines.cache import remove_drafts
from pytest_bottle.errors import ImageError
from pytest_bottle.state.directory import images_directory
from pytest_bottle.state.publish import locked

if TYPE_CHECKING:
    from pathlib import Path

KEY = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4

pytestmark = pytest.mark.usefixtures("root")


def add(key: str = KEY, form: str = ARCHIVE, *, name: str = "team/image", content: bytes = b"x"):
    def write(path: Path) -> None:
        path.write_bytes(content)

    return add_cached(form, key, Facts(name=name), size=len(content), write=write)


def not_used_for(seconds: float, key: str) -> None:
    then = time.time() - seconds
    os.utime(images_directory() / f"archive-{key}" / "about.json", (then, then))


def left() -> list[str]:
    return sorted(path.name for path in images_directory().iterdir() if path.suffix != ".lock")


def test_what_was_added_is_found():
    def write(path: Path) -> Facts:
        path.write_bytes(b"content")
        return Facts(name="team/image", user="node", env=(("A", "1"),), arch="amd64")

    made = add_cached(ARCHIVE, KEY, Facts(name="team/image"), size=7, write=write)
    assert made.path.read_bytes() == b"content"
    assert (made.user, made.env, made.arch, made.size) == ("node", (("A", "1"),), "amd64", 7)
    assert find_cached(ARCHIVE, KEY) == made
    assert made.label == "archive-0123456789ab"


def test_each_form_of_an_image_is_an_entry():
    add(form=ARCHIVE)
    assert find_cached(PACK, KEY) is None
    assert add(form=PACK).path.name == "image.smolmachine"


def test_the_engines_users_may_read_it():
    """It boots machines of root's as other users, whatever this process's umask is."""
    umask = os.umask(0o077)
    try:
        made = add()
    finally:
        os.umask(umask)
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o644
    assert stat.S_IMODE(made.path.parent.stat().st_mode) == 0o755


def test_many_ask_and_one_makes_it():
    calls = []

    def write(path: Path) -> None:
        calls.append(path)
        time.sleep(0.1)
        path.write_bytes(b"x")

    def ask() -> None:
        add_cached(ARCHIVE, KEY, Facts(name="image"), size=1, write=write)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_of_a_failure_nothing_remains():
    def write(path: Path) -> None:
        path.write_bytes(b"half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        add_cached(ARCHIVE, KEY, Facts(name="image"), size=1, write=write)
    assert left() == []
    assert add().path.exists()


def test_what_a_dead_process_left_is_in_nobodys_way():
    draft = images_directory() / f".archive-{KEY}.draft"
    draft.mkdir()
    (draft / "image.tar").write_bytes(b"half")
    assert list_cached() == []
    assert add().path.read_bytes() == b"x"
    assert left() == [f"archive-{KEY}"]


def test_drafts_go_but_not_of_the_living():
    for key in KEY, OTHER:
        (images_directory() / f".archive-{key}.draft").mkdir()
    with locked(images_directory() / f".archive-{KEY}.lock"):
        remove_drafts()
        assert left() == [f".archive-{KEY}.draft"]


def test_an_entry_without_its_file_is_none():
    add().path.unlink()
    assert find_cached(ARCHIVE, KEY) is None
    assert list_cached() == []


def test_a_disk_that_is_too_small_is_known_before_anything_is_written():
    def write(path: Path) -> None:
        raise AssertionError(path)

    with pytest.raises(ImageError, match=r"needs about \d+ MiB, and the disk of .* MiB left") as e:
        add_cached(ARCHIVE, KEY, Facts(name="image"), size=1 << 60, write=write)
    assert "`pytest-bottle image prune`" in str(e.value)
    assert left() == []


def test_a_disk_that_fills_up_meanwhile_is_told():
    def write(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    with pytest.raises(ImageError, match=r"the disk of .* has .* MiB left"):
        add_cached(ARCHIVE, KEY, Facts(name="image"), size=1, write=write)
    assert left() == []


def test_what_has_lost_its_name_goes_once_nobody_uses_it():
    add(KEY)
    not_used_for(cache.SUPERSEDED_AFTER + 60, KEY)
    add(OTHER)
    assert [image.key for image in list_cached()] == [OTHER]


def test_what_was_used_today_stays():
    add(KEY)
    not_used_for(cache.SUPERSEDED_AFTER + 60, KEY)
    assert find_cached(ARCHIVE, KEY) is not None  # Which notes that it is in use.
    add(OTHER)
    assert {image.key for image in list_cached()} == {KEY, OTHER}


def test_other_names_stay():
    add(KEY, name="one")
    not_used_for(cache.SUPERSEDED_AFTER + 60, KEY)
    add(OTHER, name="two")
    assert [image.name for image in list_cached()] == ["one", "two"]


def test_what_is_removed_is_gone():
    made = add()
    remove_cached(made)
    remove_cached(made)
    assert left() == []
