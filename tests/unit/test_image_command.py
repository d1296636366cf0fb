"""The command `pytest-bottle image`, as far as no engine is needed."""

from __future__ import annotations

import sys

import pytest

from pytest_bottle.amounts import age_in_words
from pytest_bottle.amounts import size_in_words
from pytest_bottle.cli import main

CERTIFICATE = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"


@pytest.fixture(autouse=True)
def _no_engine(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")


def refused(capsys, *argv: str) -> str:
    assert main(["image", *argv]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    return str(captured.err)


class TestArguments:
    @pytest.mark.parametrize(
        "argv", [[], ["no-such-action"], ["build", "--no-such"], ["export", "x"], ["ls", "more"]]
    )
    def test_what_is_wrong_is_told_with_the_usage(self, capsys, argv):
        with pytest.raises(SystemExit) as caught:
            main(["image", *argv])
        assert caught.value.code == 2
        assert "usage: pytest-bottle" in capsys.readouterr().err

    @pytest.mark.parametrize("pair", ["CLAUDE_VERSION", "=1", ""])
    def test_a_build_argument_needs_a_value(self, capsys, pair):
        assert "is not KEY=VALUE" in refused(capsys, "build", f"--build-arg={pair}")

    def test_certificates_must_be_there(self, capsys, tmp_path):
        words = refused(capsys, "build", "--ca-file", str(tmp_path / "ca.pem"))
        assert "ca.pem cannot be read: No such file or directory" in words

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("nonsense", "has no certificate in PEM form"),
            (CERTIFICATE + "-----BEGIN RSA PRIVATE KEY-----\n", "has a private key"),
        ],
    )
    def test_only_certificates_are_taken(self, capsys, tmp_path, content, words):
        (tmp_path / "ca.pem").write_text(content)
        assert words in refused(capsys, "build", "--ca-file", str(tmp_path / "ca.pem"))

    def test_there_must_be_certificates_to_keep(self, capsys):
        assert "there are no certificates to keep" in refused(capsys, "build", "--keep-ca")

    def test_something_has_to_be_named_for_removal(self, capsys):
        assert "Name images, or say --unused" in refused(capsys, "rm")

    def test_a_directory_in_use_is_refused_before_anything_is_exported(self, capsys, tmp_path):
        (tmp_path / "mine").touch()
        assert f"{tmp_path} is not empty" in refused(capsys, "export", "img", str(tmp_path))


class TestWithoutAnEngine:
    @pytest.mark.parametrize(
        "argv", [["build"], ["ls"], ["rm", "x"], ["export", "x", "no-such-directory"]]
    )
    def test_the_missing_extra_is_named(self, capsys, monkeypatch, argv):
        monkeypatch.setitem(sys.modules, "docker", None)
        assert "pip install 'pytest-bottle[docker]'" in refused(capsys, *argv)

    def test_the_missing_engine_is_named(self, capsys):
        pytest.importorskip("docker")
        assert "there is no socket unix://" in refused(capsys, "ls")


def test_images_are_not_called_unused_while_a_run_works(capsys, run):
    words = refused(capsys, "rm", "--unused")
    assert f"a run is under way ({run.id})" in words


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (256_400_000, "256 MB"), (1.31e9, "1.31 GB")],
)
def test_sizes_are_in_the_engines_units(size, words):
    assert size_in_words(size) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 s"), (59, "59 s"), (60, "1 min"), (7300, "2 h"), (86400 * 3 + 5, "3 d")],
)
def test_ages_are_in_their_largest_unit(seconds, words):
    assert age_in_words(seconds) == words
