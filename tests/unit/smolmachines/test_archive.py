"""What is read from a `docker save` archive, and what is refused before a machine boots."""

from __future__ import annotations

import gzip
import os
import tarfile

import pytest

from pytest_bottle.backends.smolmachines.archive import host_arch
from pytest_bottle.backends.smolmachines.archive import read_archive
from pytest_bottle.errors import ImageError
from tests.unit.smolmachines.archives import archive_bytes
from tests.unit.smolmachines.archives import write_archive


@pytest.fixture
def path(tmp_path):
    return tmp_path / "image.tar"


def refusal(path) -> str:
    with pytest.raises(ImageError) as caught:
        read_archive(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_the_image_tells_its_user_and_environment(path):
    write_archive(path, user="node", env=("PATH=/bin", "EMPTY=", "X=a=b"))
    found = read_archive(path)
    assert found.user == "node"
    assert found.env == {"PATH": "/bin", "EMPTY": "", "X": "a=b"}
    assert found.arch == host_arch()
    assert found.size == path.stat().st_size


def test_the_same_content_has_the_same_digest(tmp_path):
    one, same, other = (
        read_archive(write_archive(tmp_path / name, content=content)).digest
        for name, content in (("a.tar", b"1"), ("b.tar", b"1"), ("c.tar", b"2"))
    )
    assert one == same != other


def test_the_layers_are_not_read(path):
    """An archive of an agent has a gigabyte; only its ends are looked at."""
    write_archive(path)
    with path.open("r+b") as file:
        file.seek(600)  # In the layer, behind its header.
        file.write(b"\xff" * 100)
    assert read_archive(path).user == ""


def test_what_is_not_there_is_told(path):
    assert "there is no such file. `docker save NAME -o FILE.tar` writes one." in refusal(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any file")
def test_what_may_not_be_read_is_told(path):
    write_archive(path).chmod(0)
    assert f"`chmod 0644 {path}`" in refusal(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Dockerfile", "RUN true"),
        ("agent.Dockerfile", "RUN true"),
        ("x.tar", "\nFROM debian"),
        ("x.tar", "ARG A\nFROM $A"),
        ("x.tar", "# syntax=docker/dockerfile:1\nFROM debian"),
    ],
)
def test_a_dockerfile_is_known_as_one(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    words = refusal(path)
    assert "it is a Dockerfile, and no archive." in words
    assert f'image = {{ dockerfile = "{path}" }}' in words


def test_other_text_is_no_archive(path):
    path.write_text("no archive at all\n" * 100)
    assert "it is no tar archive, or is cut off." in refusal(path)


def test_an_empty_file_is_no_archive(path):
    path.touch()
    assert "it is no " in refusal(path)


def test_a_compressed_archive_has_to_be_unpacked(path):
    path.write_bytes(gzip.compress(archive_bytes()))
    assert f"it is compressed. `gunzip {path}`" in refusal(path)


def test_a_root_file_system_is_no_image(path, tmp_path):
    (tmp_path / "etc").mkdir()
    with tarfile.open(path, "w") as archive:
        archive.add(tmp_path / "etc", "etc")
    words = refusal(path)
    assert "it has no manifest.json" in words
    assert "what `docker export` wrote is a root file system: unpack it" in words


@pytest.mark.parametrize("part", [0.1, 0.4, 0.7])
def test_an_archive_that_is_cut_off_is_refused(path, part):
    whole = archive_bytes(content=b"y" * 200_000)
    path.write_bytes(whole[: int(len(whole) * part)])
    assert "is cut off" in refusal(path)


def test_a_layer_that_is_missing_is_noticed(path, tmp_path):
    write_archive(path)
    with tarfile.open(path) as whole, tarfile.open(tmp_path / "part.tar", "w") as part:
        for member in whole:
            if not member.name.endswith("layer.tar"):
                part.addfile(member, whole.extractfile(member))
    assert "not all that its manifest names is there" in refusal(tmp_path / "part.tar")


@pytest.mark.parametrize("times", [0, 2])
def test_an_archive_has_one_image(path, times):
    write_archive(path, times=times)
    assert f"it holds {times} images, which leaves open which one is meant." in refusal(path)


def test_an_image_for_other_hosts_is_refused(path):
    write_archive(path, arch="s390x")
    words = refusal(path)
    assert f"it is for s390x, and this host is {host_arch()}." in words
    assert f"docker pull --platform linux/{host_arch()}" in words


def test_an_image_that_names_no_architecture_is_taken(path):
    assert read_archive(write_archive(path, arch="")).arch == ""
