"""Sandboxes of an image: a root file system in a directory, which is never written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pytest_bottle.errors import CapabilityError
from pytest_bottle.plan import ImagePlan

pytestmark = pytest.mark.bottle_requires("bubblewrap")

PROGRAMS = ("sh", "cat", "ls", "sleep", "mkdir", "rm", "id", "touch")


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest system that does anything: some programs of this host and their libraries."""
    root = tmp_path_factory.mktemp("image") / "rootfs"
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
    # The user that root becomes has to reach it.
    for parent in root.parents:
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
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


@pytest.mark.skipif(
    os.getuid() == 0,
    reason="root's sandboxes run as another user, and no overlay changes what a third one owns",
)
def test_what_is_written_stays_in_the_sandbox(box, launch, rootfs):
    before = sorted(rootfs.rglob("*"))
    box.sh("echo changed > /data/file && mkdir /data/new && echo x > /data/new/file").check()
    assert box.exec("cat", "/data/file").stdout == "changed\n"
    beside = launch(image=ImagePlan(reference=str(rootfs)))
    assert beside.exec("cat", "/data/file").stdout == "of the image"
    assert (rootfs / "data/file").read_text() == "of the image"
    assert sorted(rootfs.rglob("*")) == before


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
