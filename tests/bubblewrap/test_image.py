"""Sandboxes of an image: a root file system in a directory, which is never written."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.errors import CapabilityError
from pytest_bottle.plan import ImagePlan
from pytest_bottle.plan import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.bottle_requires("bubblewrap")

PROGRAMS = ("sh", "cat", "chmod", "head", "id", "ls", "mkdir", "rm", "sleep", "test", "touch")
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that the user whom root becomes can reach: every run of pytest closes its own."""
    path = Path(tempfile.mkdtemp(prefix="bottle-image-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def rootfs(place: Path) -> Path:
    """The smallest system that does anything: some programs of this host and their libraries."""
    root = place / "rootfs"
    for directory in ("bin", "etc", "data", "home/agent", "tmp", "usr"):
        (root / directory).mkdir(parents=True)
    for name in PROGRAMS:
        program = Path(shutil.which(name) or "")
        shutil.copy(program, root / "bin" / name)
        libraries = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
        for library in re.findall(r"(/\S+) \(0x", libraries.stdout):
            target = root / library.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, target)
    (root / "usr/link").symlink_to("../data")
    (root / "data/file").write_text("of the image")
    (root / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nagent:x:1000:1000::/home/agent:/bin/sh\n"
        "other:x:1001:1002::/home/other:/bin/sh\nbroken\n"
    )
    for path in [root, *root.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o055)
    return root


@pytest.fixture
def box(launch, rootfs):
    return launch(image=ImagePlan(reference=str(rootfs)))


def test_its_files_and_not_the_hosts_are_the_guests(box):
    assert box.exec("cat", "/data/file", "/usr/link/file").stdout == "of the imageof the image"
    assert box.exec("ls", "/usr").stdout == "link\n"
    assert box.exec("ls", "/bin").stdout.split() == sorted(PROGRAMS)


def test_the_users_are_the_images_own(launch, rootfs, box):
    """Uid 1000 where it has one and nobody else is asked for."""
    image = ImagePlan(reference=str(rootfs))
    assert box.sandbox.guest.user == "agent"
    assert box.sh("id -u; echo $HOME").stdout == "1000\n/home/agent\n"
    assert launch(image=image, user="root").sh("id -u; echo $HOME").stdout == "0\n/root\n"
    by_uid = launch(image=image, user="1001")
    assert by_uid.sh("id -u; id -g; echo $USER").stdout == "1001\n1002\nother\n"


def test_its_home_and_workdir_are_there_and_private(box, rootfs):
    box.sh("touch ~/mine /tmp/mine mine").check()
    assert box.exec("ls", "/workspace").stdout == "mine\n"
    assert list((rootfs / "home/agent").iterdir()) == []


def state(directory: Path) -> dict[str, tuple[object, ...]]:
    """Return what is in a directory: names, owners, modes, times and contents."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [directory, *directory.rglob("*")]:
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path)] = (
            *(status.st_uid, status.st_gid, status.st_mode, status.st_mtime_ns, status.st_ino),
            hashlib.sha256(content).hexdigest(),
        )
    return found


class TestWriting:
    """Everywhere, and only in the sandbox."""

    @pytest.fixture(autouse=True)
    def unchanged(self, rootfs):
        before = state(rootfs)
        yield
        assert state(rootfs) == before

    def test_a_file_is_changed(self, box):
        box.sh("echo more >> /data/file && chmod 600 /data/file").check()
        assert box.exec("cat", "/data/file").stdout == "of the imagemore\n"

    def test_a_file_is_removed_and_made_anew(self, box):
        box.sh("rm /data/file").check()
        assert box.sh("ls /data").stdout == ""
        box.sh("echo anew > /data/file").check()
        assert box.exec("cat", "/data/file").stdout == "anew\n"

    def test_a_directory_is_made_filled_and_removed(self, box):
        box.sh("mkdir /usr/new && touch /usr/new/file /bin/program && ls /usr/new").check()
        box.sh("rm -r /usr/new /usr/link").check()
        assert box.sh("ls /usr").stdout == ""

    def test_a_sandbox_beside_it_sees_nothing_of_that(self, box, launch, rootfs):
        box.sh("echo changed > /data/file; touch /etc/new").check()
        beside = launch(image=ImagePlan(reference=str(rootfs)))
        assert beside.sh("cat /data/file; ls /etc").stdout == "of the imagepasswd\n"

    def test_the_disk_limit_holds(self, launch, rootfs):
        box = launch(image=ImagePlan(reference=str(rootfs)), limits=Limits(disk=8 * MIB))
        for directory in ("/usr", "/data", "/workspace"):
            large = f"{directory}/large"
            assert not box.sh(f"head -c {32 * MIB} /dev/zero > {large}").success
            assert box.exec("rm", large).success

    def test_one_disk_limit_holds_for_all_places(self, launch, rootfs):
        box = launch(image=ImagePlan(reference=str(rootfs)), limits=Limits(disk=8 * MIB))
        for directory in ("/usr", "/workspace"):
            box.sh(f"head -c {32 * MIB} /dev/zero > {directory}/large")
        assert box.sh("head -c 1000000 /dev/zero > /data/more").returncode != 0


@pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user's image is all that user's own")
class TestOwners:
    """Root's sandboxes run as another user, to whom an image's files would belong to strangers."""

    @pytest.fixture
    def owned(self, place: Path, rootfs: Path) -> Iterator[Path]:
        """An image with files of three users."""
        image = place / "owned"
        shutil.copytree(rootfs, image, symlinks=True)
        (image / "app").mkdir()
        (image / "app/own").write_text("own")
        (image / "data/service").mkdir()
        (image / "data/service/file").write_text("of a service")
        for path in (image / "app", image / "app/own"):
            os.chown(path, 1000, 1000)
        for path in (image / "data/service", image / "data/service/file"):
            os.chown(path, 33, 33)
        os.chown(image / "data/file", 0, 42)
        yield image
        shutil.rmtree(image)

    def test_a_top_level_directorys_owner_is_the_sandboxs_user(self, launch, owned):
        box = launch(image=ImagePlan(reference=str(owned)))
        for path in ("/app/own", "/data/file", "/bin/sh"):
            assert box.exec("test", "-O", path).success
        box.sh("echo x >> /app/own; echo x >> /bin/ls").check()
        assert (owned / "app/own").read_text() == "own"

    def test_what_others_own_is_read_and_not_changed(self, launch, owned):
        box = launch(image=ImagePlan(reference=str(owned)))
        assert box.exec("cat", "/data/service/file").stdout == "of a service"
        assert "Permission denied" in box.sh("echo x > /data/service/file").stderr
        assert "Permission denied" in box.sh("rm -f /data/service/file").stderr

    def test_what_has_another_group_is_replaced_and_not_changed(self, launch, owned):
        before = state(owned)
        box = launch(image=ImagePlan(reference=str(owned)))
        assert "Value too large" in box.sh("echo x >> /data/file").stderr
        box.sh("cd /data && cat file > new && rm file && echo x >> new && cat new > file").check()
        assert box.exec("cat", "/data/file").stdout == "of the imagex\n"
        assert state(owned) == before

    def test_where_owners_cannot_be_mapped_the_image_is_read(self, launch, owned, place):
        """As on some file systems, of which this is one."""
        other = place / "other"
        other.mkdir()
        subprocess.run(["mount", "-t", "ramfs", "-o", "mode=755", "none", other], check=True)
        try:
            shutil.copytree(owned, other / "image", symlinks=True)
            box = launch(image=ImagePlan(reference=str(other / "image")))
            assert box.exec("cat", "/data/file").stdout == "of the image"
            assert "Permission denied" in box.sh("echo x > /data/file").stderr
            box.sh("touch ~/own /tmp/own own /own").check()
            box.sandbox.stop()
        finally:
            subprocess.run(["umount", "--lazy", other], check=True)

    def test_set_uid_programs_and_devices_give_nothing(self, launch, owned):
        (owned / "bin/id").chmod(0o4755)
        os.mknod(owned / "data/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        box = launch(image=ImagePlan(reference=str(owned)))
        assert box.exec("id", "-u").stdout == "1000\n"
        assert "Permission denied" in box.sh("echo x > /data/null").stderr

    def test_an_image_with_a_mount_in_it_is_refused(self, launch, owned):
        subprocess.run(["mount", "-t", "tmpfs", "none", owned / "data/service"], check=True)
        try:
            with pytest.raises(
                CapabilityError, match=r"data/service is mounted in image"
            ) as caught:
                launch(image=ImagePlan(reference=str(owned)))
            assert "umount" in str(caught.value.fix)
        finally:
            subprocess.run(["umount", owned / "data/service"], check=True)


class TestRefusals:
    @pytest.mark.parametrize(
        ("image", "words"),
        [
            (ImagePlan(reference="debian:12"), "is no directory on this host"),
            (ImagePlan(reference="relative/path"), "is no directory on this host"),
            (ImagePlan(reference="/no/such/directory"), "is no directory on this host"),
            (ImagePlan(reference="/proc"), "has no /bin/sh"),
            (ImagePlan(dockerfile=Path("/x/Dockerfile")), "cannot build /x/Dockerfile"),
        ],
    )
    def test_what_is_no_root_file_system(self, launch, image, words):
        with pytest.raises(CapabilityError, match=words) as caught:
            launch(image=image)
        assert caught.value.fix

    def test_a_user_that_it_does_not_have(self, launch, rootfs):
        with pytest.raises(CapabilityError, match="has no user 'nobody-there'"):
            launch(image=ImagePlan(reference=str(rootfs)), user="nobody-there")


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes another user for a sandbox")
def test_an_image_that_roots_other_user_cannot_enter_is_refused(launch, rootfs):
    """Before anything starts, and with the directory that is in the way."""
    mode = rootfs.stat().st_mode
    rootfs.chmod(0o700)
    try:
        with pytest.raises(CapabilityError, match=rf"{rootfs} is closed to others.*chmod o\+x"):
            launch(image=ImagePlan(reference=str(rootfs)))
    finally:
        rootfs.chmod(mode)
