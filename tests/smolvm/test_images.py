"""MicroVMs from archives, directories and packs; no registry and no Docker takes part.

The small image of `BOTTLE_SMOLVM_PLAIN_IMAGE` serves best, else that of `BOTTLE_SMOLVM_IMAGE`; it
has to be an archive of `docker save`.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from pytest_bottle.backends.smolmachines.cache import list_cached
from pytest_bottle.cli import main
from pytest_bottle.errors import ImageError

IMAGE = Path(
    os.environ.get("BOTTLE_SMOLVM_PLAIN_IMAGE") or os.environ.get("BOTTLE_SMOLVM_IMAGE", "")
)

pytestmark = pytest.mark.skipif(not IMAGE.is_file(), reason="no archive of an image is named")


def changed(target: Path, **changes: object) -> Path:
    """Write an archive whose image says other things of itself, and so is another image."""
    with tarfile.open(IMAGE) as source, tarfile.open(target, "w") as archive:
        for member in source:
            data = source.extractfile(member)
            content = data.read() if data else b""
            if member.name.endswith(".json") and member.name != "manifest.json":
                content = json.dumps({**json.loads(content), **changes}).encode()
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return target


def unpacked(directory: Path) -> Path:
    """Write the root file system of the archive's only layer, or of the lowest."""
    with tarfile.open(IMAGE) as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        (image,) = json.load(manifest)
        layer = archive.extractfile(image["Layers"][0])
        assert layer is not None
        directory.mkdir()
        # Python 3.11 before its fourth release has no filter that unpacks links as they are.
        untar = ["tar", "-x", "-f", "-", "-C", str(directory)]
        subprocess.run(untar, input=layer.read(), check=True)
    return directory


@pytest.mark.slow
def test_an_archive_that_machines_may_not_read_boots_all_the_same(bottle_factory, tmp_path):
    archive = changed(tmp_path / "private.tar", created="2001-02-03T04:05:06Z")
    archive.chmod(0o600)
    bottle = bottle_factory(image=str(archive), golden=False)
    assert bottle.sh("echo up").stdout == "up\n"


@pytest.mark.slow
def test_a_root_file_system_boots_and_is_not_written_to(bottle_factory, tmp_path):
    root = unpacked(tmp_path / "root")
    bottle = bottle_factory(image=str(root), golden=False)
    assert bottle.sh("echo up | tee /written").stdout == "up\n"
    assert not (root / "written").exists()


@pytest.mark.slow
def test_a_pack_is_made_and_boots(bottle_factory, smolvm, tmp_path, capsys):
    names = {machine.name for machine in smolvm.machine_ls()}
    pack = tmp_path / "image.smolmachine"
    assert main(["image", "convert", str(IMAGE), "--pack", "-o", str(pack)]) == 0
    assert capsys.readouterr().out.startswith(f"{IMAGE}: {pack} (")
    left = {machine.name for machine in smolvm.machine_ls()} - names
    assert [name for name in left if name.startswith("bottle-pack-")] == []
    assert ("pack", str(IMAGE)) in {(image.form, image.name) for image in list_cached()}
    bottle = bottle_factory(image=str(pack), golden=False)
    assert bottle.sh("echo up").stdout == "up\n"


class TestRefused:
    """Before a machine is made, and so within a moment."""

    @pytest.fixture
    def refusal(self, bottle_factory, smolvm):
        def refuse(image: Path) -> str:
            before = {machine.name for machine in smolvm.machine_ls()}
            with pytest.raises(ImageError) as caught:
                bottle_factory(image=str(image), golden=False)
            # Another test's may be going meanwhile.
            assert {machine.name for machine in smolvm.machine_ls()} <= before
            return str(caught.value)

        return refuse

    def test_an_image_of_another_architecture(self, refusal, tmp_path):
        image = changed(tmp_path / "foreign.tar", architecture="s390x")
        assert "it is for s390x, and this host is " in refusal(image)

    def test_a_truncated_archive(self, refusal, tmp_path):
        image = tmp_path / "cut.tar"
        image.write_bytes(IMAGE.read_bytes()[: IMAGE.stat().st_size // 2])
        assert "is cut off" in refusal(image)

    def test_a_dockerfile_that_is_not_called_one(self, refusal, tmp_path):
        image = tmp_path / "image.tar"
        image.write_text("FROM debian\n")
        assert "it is a Dockerfile, and no archive" in refusal(image)

    def test_an_empty_directory(self, refusal, tmp_path):
        (tmp_path / "root").mkdir()
        assert "it is an empty directory" in refusal(tmp_path / "root")

    def test_what_only_docker_could_build(self, refusal, tmp_path, monkeypatch):
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
        (tmp_path / "Dockerfile").write_text("FROM debian\n")
        assert "only a docker engine builds it" in refusal(tmp_path / "Dockerfile")
