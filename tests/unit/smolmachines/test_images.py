"""What a bottle may name as its image, and what its machine starts from."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest

from pytest_bottle.backends.smolmachines.archive import host_arch
from pytest_bottle.backends.smolmachines.archive import read_archive
from pytest_bottle.backends.smolmachines.cache import list_cached
from pytest_bottle.backends.smolmachines.images import IMAGE_VARIABLE
from pytest_bottle.backends.smolmachines.images import MachineImage
from pytest_bottle.backends.smolmachines.images import provide_image
from pytest_bottle.backends.smolmachines.packs import FOOTER
from pytest_bottle.backends.smolmachines.packs import MAGIC
from pytest_bottle.backends.smolmachines.smolvm import Smolvm
from pytest_bottle.backends.source import AGENT_IMAGE
from pytest_bottle.errors import CapabilityError
from pytest_bottle.errors import ImageError
from pytest_bottle.plan import ImagePlan
from tests.unit.smolmachines.archives import Shelf
from tests.unit.smolmachines.archives import archive_bytes
from tests.unit.smolmachines.archives import no_engine
from tests.unit.smolmachines.archives import write_archive

NO_ENGINE = Smolvm(Path("/none/smolvm"))
"""Nothing here may start a machine."""

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture(autouse=True)
def _nothing_named(monkeypatch):
    monkeypatch.delenv(IMAGE_VARIABLE, raising=False)


@pytest.fixture
def reported() -> list[str]:
    return []


@pytest.fixture
def provide(reported):
    def call(plan=None, *, connect=no_engine, agent=None) -> MachineImage:
        if plan is not None and not isinstance(plan, ImagePlan):
            plan = ImagePlan(reference=str(plan))
        return provide_image(NO_ENGINE, plan, reported.append, agent=agent, connect=connect)

    return call


@pytest.fixture
def rootfs(tmp_path):
    root: Path = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "sh").symlink_to("/nowhere/but/in/the/guest")
    return root


class TestDocker:
    def test_an_image_is_saved_once(self, provide, reported):
        shelf = Shelf(team_image=archive_bytes(user="node", env=("A=1",)))
        first = provide("team-image", connect=shelf.connect)
        assert provide("team-image", connect=shelf.connect) == first
        assert shelf.saved == ["team-image"]
        assert first.name == "team-image"
        assert (first.user, first.env, first.pack) == ("node", {"A": "1"}, None)
        assert Path(first.image or "").read_bytes() == shelf.images["team-image"]
        assert reported[0].startswith("saving team-image for microVMs: 0 of 0 MiB")

    def test_another_image_of_the_name_is_saved_anew(self, provide):
        shelf = Shelf(image=archive_bytes(content=b"1"))
        before = provide("image", connect=shelf.connect)
        shelf.images["image"] = archive_bytes(content=b"2")
        assert provide("image", connect=shelf.connect).image != before.image

    def test_an_image_for_other_hosts_is_refused_and_not_kept(self, provide):
        shelf = Shelf(image=archive_bytes(arch="s390x"))
        with pytest.raises(ImageError, match=r"^image 'image': it is for s390x"):
            provide("image", connect=shelf.connect)
        assert list_cached() == []

    def test_an_engine_that_goes_away_leaves_nothing_half_saved(self, provide):
        shelf = Shelf(**{AGENT_IMAGE.replace("-", "_"): archive_bytes()})
        shelf.breaks_after = 2000
        with pytest.raises(ImageError, match="it went away"):
            provide(connect=shelf.connect)
        assert list_cached() == []

    def test_a_dockerfile_is_built(self, provide, reported, tmp_path):
        (tmp_path / "Dockerfile").write_text("FROM debian\n")
        plan = ImagePlan(dockerfile=tmp_path / "Dockerfile", build_args=(("A", "1"),))
        found = provide(plan, connect=Shelf().connect)
        assert Path(found.image or "").is_file()
        assert reported[0] == f"building {tmp_path}/Dockerfile"

    def test_nothing_else_builds_a_dockerfile(self, provide, tmp_path):
        (tmp_path / "Dockerfile").write_text("FROM debian\n")
        with pytest.raises(ImageError, match="only a docker engine builds it") as caught:
            provide(ImagePlan(dockerfile=tmp_path / "Dockerfile"))
        assert "nothing listens there. Build it elsewhere and name its archive" in str(caught.value)


class TestRegistry:
    @pytest.mark.parametrize("connect", [no_engine, Shelf().connect])
    def test_any_other_name_is_a_registrys(self, provide, connect):
        found = provide("ghcr.io/team/image:1", connect=connect)
        assert found == MachineImage(name="ghcr.io/team/image:1", image="ghcr.io/team/image:1")

    @pytest.mark.parametrize("name", [AGENT_IMAGE, f"{AGENT_IMAGE}:latest"])
    def test_the_agent_image_is_in_none(self, provide, name):
        with pytest.raises(ImageError, match="no registry has it, and the docker engine does not"):
            provide(name, connect=Shelf().connect)


class TestNothingNamed:
    def test_the_environment_names_one(self, provide, monkeypatch, tmp_path):
        archive = write_archive(tmp_path / "image.tar")
        monkeypatch.setenv(IMAGE_VARIABLE, str(archive))
        assert provide().image == str(archive)

    def test_the_manifest_comes_first(self, provide, monkeypatch, rootfs):
        monkeypatch.setenv(IMAGE_VARIABLE, "/none.tar")
        assert provide(rootfs).name == str(rootfs)

    def test_the_agent_image_is_the_default(self, provide):
        shelf = Shelf(pytest_bottle_agent=archive_bytes(user="node"))
        found = provide(connect=shelf.connect)
        assert (found.name, found.user) == (AGENT_IMAGE, "node")

    @pytest.mark.parametrize(
        ("connect", "agent", "words"),
        [
            (no_engine, None, "a bottle needs it where no other is named: there is no docker"),
            (Shelf().connect, "claude", "an agent of kind 'claude' needs it .* does not have it"),
        ],
    )
    def test_without_it_the_ways_to_one_are_told(self, provide, connect, agent, words):
        with pytest.raises(ImageError, match=words) as caught:
            provide(connect=connect, agent=agent)
        assert "`pytest-bottle image build`" in str(caught.value)
        assert IMAGE_VARIABLE in str(caught.value)


class TestArchives:
    def test_an_archive_is_taken_as_it_is(self, provide, tmp_path):
        path = write_archive(tmp_path / "image.tar", user="1000", env=("A=1",))
        found = provide(path)
        assert (found.image, found.user, found.env) == (str(path), "1000", {"A": "1"})
        assert found.key == read_archive(path).digest
        assert list_cached() == []

    def test_a_relative_path_is_made_absolute(self, provide, tmp_path, monkeypatch):
        write_archive(tmp_path / "image.tar")
        monkeypatch.chdir(tmp_path)
        assert provide("image.tar").image == str(tmp_path / "image.tar")
        assert provide("./image.tar").image == str(tmp_path / "image.tar")

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root's machines run as other users")
    def test_one_that_machines_may_not_read_is_copied(self, provide, reported, tmp_path):
        path = write_archive(tmp_path / "image.tar", user="node")
        path.chmod(0o600)
        found = provide(path)
        assert provide(path) == found
        assert found.user == "node"
        assert found.image != str(path)
        assert Path(found.image or "").read_bytes() == path.read_bytes()
        assert reported == [f"copying {path}, whose mode keeps machines from reading it"]

    def test_what_no_machine_starts_from_is_refused(self, provide, tmp_path):
        path = tmp_path / "image.tar"
        with pytest.raises(ImageError, match="there is no such file"):
            provide(path)
        write_archive(path, arch="s390x")
        with pytest.raises(ImageError, match="it is for s390x"):
            provide(path)


class TestDirectories:
    """The engine's users, whom root's machines run as, could not use all of one as it is."""

    def test_a_root_file_system_is_archived_once(self, provide, reported, rootfs):
        first = provide(rootfs)
        assert provide(rootfs) == first
        assert reported == [f"archiving {rootfs} (0 MiB)"]
        assert first.name == str(rootfs)
        assert read_archive(Path(first.image or "")).env["PATH"].endswith(":/bin")

    def test_what_is_in_it_stays_as_it_was(self, provide, rootfs):
        (rootfs / "root").mkdir(mode=0o700)
        (rootfs / "root" / "secret").write_text("content")
        (rootfs / "root" / "secret").chmod(0o600)
        with tarfile.open(provide(rootfs).image) as image:
            layer = next(member for member in image if member.name.endswith("/layer.tar"))
            with tarfile.open(fileobj=image.extractfile(layer)) as files:
                found = {member.name: member for member in files}
        assert set(found) == {"bin", "bin/sh", "root", "root/secret"}
        assert found["bin/sh"].linkname == "/nowhere/but/in/the/guest"
        assert (found["root"].mode, found["root/secret"].mode) == (0o700, 0o600)
        assert (found["root"].uid, found["root"].gid) == (0, 0)

    @pytest.mark.parametrize("change", ["touch", "chmod", "unlink"])
    def test_a_change_makes_another_image(self, provide, rootfs, change):
        file = rootfs / "file"
        file.write_text("1")
        before = provide(rootfs).image
        if change == "touch":
            file.write_text("2")
        elif change == "chmod":
            file.chmod(0o600)
        else:
            file.unlink()
        assert provide(rootfs).image != before

    def test_an_empty_directory_is_refused(self, provide, tmp_path):
        (tmp_path / "root").mkdir()
        with pytest.raises(ImageError, match="it is an empty directory"):
            provide(tmp_path / "root")

    def test_commands_need_a_shell(self, provide, rootfs):
        (rootfs / "bin" / "sh").unlink()
        with pytest.raises(ImageError, match="it has no /bin/sh") as caught:
            provide(rootfs)
        assert "pytest-bottle image export" in str(caught.value)


def pack_bytes(platform: str = f"linux/{host_arch()}", manifest: bytes | None = None) -> bytes:
    """A pack, as far as it is looked at."""
    text = json.dumps({"platform": platform}).encode() if manifest is None else manifest
    return b"x" * 1000 + text + FOOTER.pack(MAGIC, 1000, 1000, len(text))


class TestPacks:
    def test_a_pack_is_taken_as_it_is(self, provide, tmp_path):
        path = tmp_path / "image.smolmachine"
        path.write_bytes(pack_bytes())
        found = provide(path)
        assert (found.pack, found.image) == (path, None)
        assert (found.size, found.arch) == (path.stat().st_size, host_arch())

    def test_what_it_does_not_say_is_not_known(self, provide, tmp_path):
        """A pack has neither the user nor the environment of the image that it was made of."""
        path = tmp_path / "image.smolmachine"
        path.write_bytes(pack_bytes(manifest=b"[]"))
        found = provide(path)
        assert (found.user, found.env, found.arch) == (None, {}, None)

    def test_one_for_other_hosts_is_refused(self, provide, tmp_path):
        path = tmp_path / "image.smolmachine"
        path.write_bytes(pack_bytes("linux/s390x"))
        with pytest.raises(ImageError, match="it is for s390x, and this host is"):
            provide(path)

    @pytest.mark.parametrize("content", [b"", b"x", b"x" * 1000, pack_bytes()[:-1]])
    def test_what_is_cut_off_is_refused(self, provide, tmp_path, content):
        path = tmp_path / "image.smolmachine"
        path.write_bytes(content)
        with pytest.raises(ImageError, match=r"it is no \.smolmachine, or is cut off"):
            provide(path)

    def test_one_that_is_not_there_is_refused(self, provide, tmp_path):
        with pytest.raises(ImageError, match="there is no such file"):
            provide(tmp_path / "image.smolmachine")


def test_a_capability_error_is_no_answer_to_a_missing_image(provide):
    """It would be taken for a backend that cannot open, and another one might be chosen."""
    with pytest.raises(ImageError) as caught:
        provide(AGENT_IMAGE)
    assert not isinstance(caught.value, CapabilityError)
