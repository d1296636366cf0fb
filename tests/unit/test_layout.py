"""What a sandbox's file system is made of, as bwrap's arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_bottle.backends.bubblewrap import staging
from pytest_bottle.backends.bubblewrap.layout import DEFAULT_DISK
from pytest_bottle.backends.bubblewrap.layout import Account
from pytest_bottle.backends.bubblewrap.layout import Layout
from pytest_bottle.backends.bubblewrap.layout import image_account
from pytest_bottle.backends.bubblewrap.layout import lay_out
from pytest_bottle.backends.bubblewrap.layout import mountpoints
from pytest_bottle.backends.bubblewrap.layout import mounts_below

if TYPE_CHECKING:
    from pathlib import Path

PASSWD = """\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1::/usr/sbin:/bin/false
node:x:1000:1001::/home/node:/bin/bash
homeless:x:1002:1002:::/bin/sh
twin:x:1000:9::/elsewhere:/bin/sh
nonsense
words:x:one:two::/:/bin/sh
"""


def laid_out(**fields) -> Layout:
    values = {
        "account": Account(),
        "hostname": "bottle-x",
        "workdir": "/workspace",
        "disk": None,
        "image": None,
        "staged": True,
    }
    return lay_out(**{**values, **fields})


def after(layout: Layout, *words: str) -> str:
    """Return the argument after the first place of some others."""
    arguments = layout.arguments
    (place,) = [
        start for start in range(len(arguments)) if arguments[start : start + len(words)] == words
    ]
    return arguments[place + len(words)]


def words_after(layout: Layout, word: str) -> list[str]:
    """Return the argument after each place of another."""
    arguments = layout.arguments
    return [arguments[place + 1] for place, found in enumerate(arguments) if found == word]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    return tmp_path


class TestEverySandbox:
    def test_it_has_namespaces_of_its_own_and_makes_no_more(self):
        arguments = laid_out().arguments
        for kind in ("user", "pid", "ipc", "uts", "net"):
            assert f"--unshare-{kind}" in arguments
        assert {"--disable-userns", "--die-with-parent", "--clearenv"} <= set(arguments)

    def test_it_runs_as_the_account(self):
        layout = laid_out(account=Account(name="node", uid=7, gid=8, home="/n"))
        assert (after(layout, "--uid"), after(layout, "--gid")) == ("7", "8")

    @pytest.mark.parametrize("staged", [True, False])
    def test_everything_that_can_be_written_has_the_disk_limit(self, staged):
        for disk, size in ((None, DEFAULT_DISK), (5_000_000, 5_000_000)):
            layout = laid_out(disk=disk, staged=staged)
            arguments = layout.arguments
            tmpfs = [place for place, word in enumerate(arguments) if word == "--tmpfs"]
            assert tmpfs
            for place in tmpfs:
                assert arguments[place - 2 : place] == ("--size", str(size))
            assert layout.stage is None or layout.stage["size"] == size

    def test_home_workdir_and_tmp_are_private(self):
        layout = laid_out(workdir="/deep/work")
        for path in ("/home/bottle", "/deep/work", "/run"):
            assert ("--dir", path) in zip(layout.arguments, layout.arguments[1:], strict=False)
        assert after(layout, "--perms", "1777", "--dir") == "/tmp"

    def test_kernel_settings_are_read_only(self):
        assert after(laid_out(), "--ro-bind", "/proc/sys") == "/proc/sys"


class TestHostLayout:
    def test_nothing_of_the_host_is_bound_to_write(self):
        assert not {"--bind", "--dev-bind", "--bind-try"} & set(laid_out(staged=False).arguments)
        staged = laid_out().arguments
        assert after(laid_out(), "--bind").startswith(f"{staging.PLACE}/")
        assert not {"--dev-bind", "--bind-try"} & set(staged)
        assert staged.count("--bind") == 1

    @pytest.mark.parametrize("staged", [True, False])
    def test_of_the_host_only_programs_and_what_they_need_is_shown(self, staged):
        layout = laid_out(staged=staged)
        shown = set(words_after(layout, "--ro-bind"))
        if layout.stage is not None:
            shown |= {tree["source"] for tree in layout.stage["trees"]}
            shown |= {source for source, _ in layout.stage["copies"]}
            assert "/usr" not in words_after(layout, "--ro-bind")
        top = {path.split("/")[1] for path in shown}
        assert "usr" in top
        assert top <= {"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "proc"}
        assert not shown & {"/etc", "/etc/passwd", "/etc/shadow", "/etc/hosts", "/etc/ssh"}

    def test_nothing_of_etc_and_usr_local_is_given_away(self):
        """Their files stay their owners', who may have closed them to others."""
        stage = laid_out().stage
        assert stage is not None
        given = {tree["source"] for tree in stage["trees"] if tree["owner"] is not None}
        assert not [source for source in given if source.startswith(("/etc", "/usr/local"))]

    def test_its_accounts_are_made_for_it(self):
        layout = laid_out(account=Account(name="node", uid=7, gid=8, home="/n"))
        texts = dict(zip(_file_targets(layout), layout.files, strict=True))
        assert "node:x:7:8::/n:/bin/sh\n" in texts["/etc/passwd"]
        assert "root:x:0:0:" in texts["/etc/passwd"]
        assert "node:x:8:\n" in texts["/etc/group"]
        assert "bottle-x" in texts["/etc/hosts"]
        assert texts["/etc/resolv.conf"] == ""


class TestImageLayout:
    def test_directories_are_overlays_and_links_are_links(self, image):
        (image / "usr").mkdir()
        (image / "bin").symlink_to("usr/bin")
        layout = laid_out(image=image)
        assert layout.stage is not None
        assert [tree["source"] for tree in layout.stage["trees"]] == [
            str(image / "etc"),
            str(image / "usr"),
        ]
        _, upper, work = staging.place(1)
        assert after(layout, "--overlay", upper, work) == "/usr"
        assert after(layout, "--symlink", "usr/bin") == "/bin"
        assert layout.files == ()

    def test_without_a_stage_their_overlays_are_bwraps_own(self, image):
        layout = laid_out(image=image, staged=False)
        assert after(layout, "--overlay-src", str(image / "etc"), "--tmp-overlay") == "/etc"

    def test_the_images_own_private_places_and_files_are_left_out(self, image):
        for name in ("tmp", "home", "root", "proc", "sys", "dev", "run"):
            (image / name).mkdir()
        (image / ".dockerenv").touch()
        layout = laid_out(image=image)
        assert layout.stage is not None
        assert [tree["source"] for tree in layout.stage["trees"]] == [str(image / "etc")]
        assert str(image / ".dockerenv") not in layout.arguments

    def test_nothing_of_the_host_is_bound(self, image):
        assert words_after(laid_out(image=image), "--ro-bind") == ["/proc/sys"]


class TestMounts:
    def test_only_those_in_a_directory_are_below_it(self, tmp_path):
        (tmp_path / "link").symlink_to("usr")
        mounted = [str(tmp_path / name) for name in ("usr", "usr/local", "usrlocal", "opt")]
        below = [str(tmp_path / "usr/local")]
        assert mounts_below(tmp_path / "usr", mounted) == below
        assert mounts_below(tmp_path / "link", mounted) == below

    def test_the_hosts_are_known(self):
        assert "/proc" in mountpoints()


class TestImageAccount:
    def test_uid_1000_is_the_default(self, image):
        node = Account(name="node", uid=1000, gid=1001, home="/home/node")
        assert image_account(image, None) == node

    def test_by_name_and_by_uid(self, image):
        for user in ("daemon", "1"):
            found = image_account(image, user)
            assert found is not None
            assert (found.name, found.home) == ("daemon", "/usr/sbin")

    def test_without_uid_1000_it_is_root(self, image):
        (image / "etc/passwd").write_text(PASSWD.splitlines()[0])
        root = Account(name="root", uid=0, gid=0, home="/root")
        assert image_account(image, None) == root

    def test_an_image_without_accounts_has_root(self, tmp_path):
        root = Account(name="root", uid=0, gid=0, home="/root")
        assert image_account(tmp_path, None) == root

    def test_an_account_without_a_home_has_the_root_directory(self, image):
        found = image_account(image, "homeless")
        assert found is not None
        assert found.home == "/"

    def test_who_is_not_there_is_nobody(self, image):
        assert image_account(image, "stranger") is None
        assert image_account(image, "words") is None


def _file_targets(layout: Layout) -> list[str]:
    arguments = layout.arguments
    return [arguments[place + 2] for place, word in enumerate(arguments) if word == "--file"]
