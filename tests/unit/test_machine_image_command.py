"""The command `pytest-bottle image` on images of microVMs, as far as no engine is needed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.backends.smolmachines.archive import read_archive
from pytest_bottle.backends.smolmachines.cache import ARCHIVE
from pytest_bottle.backends.smolmachines.cache import PACK
from pytest_bottle.backends.smolmachines.cache import Facts
from pytest_bottle.backends.smolmachines.cache import add_cached
from pytest_bottle.backends.smolmachines.cache import list_cached
from pytest_bottle.cli import main
from pytest_bottle.state.directory import images_directory
from tests.unit.smolmachines.archives import write_archive

if TYPE_CHECKING:
    from pathlib import Path

SIZE = "20.5 kB"
"""Of the archive that tests write."""


@pytest.fixture(autouse=True)
def _no_docker(monkeypatch, tmp_path, root):  # noqa: ARG001 - where images are kept
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")


def keep(form: str, digit: str, name: str) -> str:
    """Keep an image of 1500 bytes, and return what `ls` calls it."""

    def fill(path: Path) -> None:
        path.write_bytes(b"x" * 1500)

    made = add_cached(
        form,
        digit * 64,
        Facts(name=name),
        size=1500,
        write=fill,
    )
    return made.label


def said(capsys, *argv: str, status: int = 0) -> tuple[str, str]:
    assert main(["image", *argv]) == status
    captured = capsys.readouterr()
    return captured.out, captured.err


class TestConvert:
    def test_an_archive_is_checked_and_stays_where_it_is(self, capsys, tmp_path):
        path = write_archive(tmp_path / "image.tar")
        out, _ = said(capsys, "convert", str(path))
        assert out == f"{path}: {path} ({SIZE})\n"

    def test_it_can_be_written_elsewhere_for_all_to_read(self, capsys, tmp_path):
        path = write_archive(tmp_path / "image.tar")
        path.chmod(0o600)
        copy = tmp_path / "copy.tar"
        out, _ = said(capsys, "convert", str(path), "-o", str(copy))
        assert out == f"{path}: {copy} ({SIZE})\n"
        assert copy.read_bytes() == path.read_bytes()
        assert copy.stat().st_mode & 0o777 == 0o644

    def test_what_is_there_is_not_overwritten(self, capsys, tmp_path):
        path = write_archive(tmp_path / "image.tar")
        _, err = said(capsys, "convert", str(path), "-o", str(path), status=1)
        assert f"-o (from the command line): {path} is there already." in err

    @pytest.mark.parametrize(
        ("options", "name", "suffix"),
        [((), "x.smolmachine", ".tar"), (("--pack",), "x.tar", ".smolmachine")],
    )
    def test_the_files_name_has_to_fit(self, capsys, tmp_path, options, name, suffix):
        path = write_archive(tmp_path / "image.tar")
        _, err = said(capsys, "convert", str(path), *options, "-o", str(tmp_path / name), status=1)
        assert f"{name} does not end in {suffix}" in err

    def test_a_place_that_is_not_there_is_told(self, capsys, tmp_path):
        path = write_archive(tmp_path / "image.tar")
        output = str(tmp_path / "none" / "x.tar")
        _, err = said(capsys, "convert", str(path), "-o", output, status=1)
        assert f"image {output!r}: it cannot be written: No such file or directory." in err

    def test_a_directory_becomes_a_file(self, capsys, tmp_path):
        (tmp_path / "root" / "bin").mkdir(parents=True)
        (tmp_path / "root" / "bin" / "sh").touch()
        output = tmp_path / "x.tar"
        out, _ = said(capsys, "convert", f"{tmp_path}/root", "-o", str(output))
        assert out.startswith(f"{tmp_path}/root: {output} (")
        assert read_archive(output).user == ""

    def test_what_no_docker_has_is_its_registrys(self, capsys):
        _, err = said(capsys, "convert", "ghcr.io/team/image", status=1)
        assert "a microVM gets it from its registry itself" in err

    def test_what_no_machine_starts_from_is_refused(self, capsys, tmp_path):
        (tmp_path / "Dockerfile").write_text("FROM debian\n")
        _, err = said(capsys, "convert", str(tmp_path / "Dockerfile"), status=1)
        assert "it is a Dockerfile, and no archive." in err

    def test_packing_takes_an_engine(self, capsys, tmp_path, monkeypatch):
        monkeypatch.setenv("BOTTLE_SMOLVM", "/none/smolvm")
        path = write_archive(tmp_path / "image.tar")
        _, err = said(capsys, "convert", str(path), "--pack", status=1)
        assert "smolvm: BOTTLE_SMOLVM names /none/smolvm, which is no program." in err


class TestLs:
    def test_images_of_microvms_are_listed_without_docker(self, capsys):
        keep(ARCHIVE, "a", "team/image")
        keep(PACK, "b", "./agent.tar")
        out, err = said(capsys, "ls")
        assert [line.split(maxsplit=5) for line in out.splitlines()[1:]] == [
            ["pack-bbbbbbbbbbbb", "pack", "1.5", "kB", "0", "s  of ./agent.tar, for microVMs"],
            ["archive-aaaaaaaaaaaa", "archive", "1.5", "kB", "0", "s  of team/image, for microVMs"],
        ]
        assert "Docker's are not listed: docker: there is no socket" in err


class TestRemoval:
    def test_one_goes_by_its_name(self, capsys):
        label = keep(ARCHIVE, "a", "team/image")
        keep(PACK, "a", "team/image")
        out, _ = said(capsys, "rm", label)
        assert out == f"removed {label} (of team/image)\n"
        assert [image.form for image in list_cached()] == [PACK]

    def test_a_name_that_is_not_there_is_an_error(self, capsys):
        _, err = said(capsys, "rm", "archive-aaaaaaaaaaaa", status=1)
        assert "no such image of microVMs is kept here" in err

    def test_prune_removes_all_of_them(self, capsys):
        keep(ARCHIVE, "a", "one")
        keep(PACK, "b", "two")
        draft = images_directory() / f".archive-{'c' * 64}.draft"
        draft.mkdir()
        out, err = said(capsys, "prune")
        assert out.splitlines() == [
            "removed archive-aaaaaaaaaaaa (of one)",
            "removed pack-bbbbbbbbbbbb (of two)",
        ]
        assert "Docker's are left alone: docker: there is no socket" in err
        assert list_cached() == []
        assert not draft.exists()

    def test_not_while_a_run_works(self, capsys, run):
        label = keep(ARCHIVE, "a", "one")
        _, err = said(capsys, "prune", status=1)
        assert f"prune (from the command line): a run is under way ({run.id})" in err
        assert [image.label for image in list_cached()] == [label]


def test_an_age_is_that_of_the_last_use(capsys, monkeypatch):
    keep(ARCHIVE, "a", "one")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 7300)
    assert "2 h" in said(capsys, "ls")[0]
