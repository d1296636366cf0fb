"""Which engine is taken, and what is said of one that will not do."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pytest_bottle.backends.smolmachines import engine
from pytest_bottle.backends.smolmachines.engine import ENGINE_VARIABLE
from pytest_bottle.backends.smolmachines.engine import current_engine
from pytest_bottle.backends.smolmachines.engine import find_engine
from pytest_bottle.errors import CapabilityError
from pytest_bottle.state.directory import bin_directory

WHEEL = "smolmachines==1.32.2"


@pytest.fixture(autouse=True)
def _nothing_found(monkeypatch, tmp_path):
    """No engine, wherever this host may have one."""
    find_engine.cache_clear()
    monkeypatch.delenv(ENGINE_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(sys, "path", [path for path in sys.path if not Path(path, "smol").exists()])
    yield
    find_engine.cache_clear()


def program(path: Path, says: str = "smolvm 1.32.2", *, ends: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\necho trouble >&2\nexit {ends}\n")
    path.chmod(0o755)
    return path


def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a wheel leaves on sys.path: a package that says on import that it was imported."""
    site = tmp_path / "site"
    program(site / "smol" / "smol-vmm")
    (site / "smol" / "__init__.py").write_text("raise RuntimeError('imported')")
    (site / "smol" / "libkrun.so").write_text("a library")
    monkeypatch.syspath_prepend(str(site))
    return site / "smol"


class TestOrder:
    def test_the_setting_comes_first(self, tmp_path, monkeypatch, root):  # noqa: ARG002
        program(tmp_path / "path" / "smolvm")
        named = program(tmp_path / "mine" / "engine")
        monkeypatch.setenv(ENGINE_VARIABLE, str(named))
        found = current_engine()
        assert (found.path, found.origin) == (named, ENGINE_VARIABLE)

    def test_path_comes_before_the_wheel(self, tmp_path, monkeypatch, root):  # noqa: ARG002
        wheel(tmp_path, monkeypatch)
        on_path = program(tmp_path / "path" / "smolvm", "smolvm 1.40.0")
        found = current_engine()
        assert (found.path, found.origin, found.version) == (on_path, "PATH", "1.40.0")

    def test_the_wheel_comes_last(self, tmp_path, monkeypatch, root):  # noqa: ARG002
        wheel(tmp_path, monkeypatch)
        found = current_engine()
        assert found.origin == "the smolmachines wheel"
        assert found.path.name == "smolvm"

    def test_without_any_it_is_said_how_to_get_one(self):
        with pytest.raises(CapabilityError, match="no smolvm on PATH, nor its wheel") as caught:
            current_engine()
        assert caught.value.fix.startswith("pip install 'pytest-bottle[smolvm]'")


class TestWheel:
    def test_its_program_gets_the_name_that_it_wants(self, tmp_path, monkeypatch, root):  # noqa: ARG002
        package = wheel(tmp_path, monkeypatch)
        found = current_engine()
        assert found.path.read_bytes() == (package / "smol-vmm").read_bytes()
        assert (found.path.parent / "libkrun.so").resolve() == package / "libkrun.so"

    def test_the_next_process_finds_it_there(self, tmp_path, monkeypatch, root):  # noqa: ARG002
        wheel(tmp_path, monkeypatch)
        first = current_engine()
        find_engine.cache_clear()
        assert current_engine() == first
        assert [entry.name for entry in bin_directory().iterdir()] == [first.path.parent.name]

    def test_another_wheel_gets_another_place(self, tmp_path, monkeypatch, root):  # noqa: ARG002
        package = wheel(tmp_path, monkeypatch)
        first = current_engine()
        find_engine.cache_clear()
        program(package / "smol-vmm", "smolvm 1.33.0 (newer)")
        assert current_engine().version == "1.33.0"
        assert current_engine().path != first.path

    @pytest.mark.slow
    def test_the_real_one_does_not_complain(self, real_wheel, monkeypatch, root):
        """Under its own name it says at each call that it has found no packed assets."""
        monkeypatch.syspath_prepend(str(real_wheel))
        found = current_engine()
        assert found.version == WHEEL.partition("==")[2]
        asked = [str(found.path), "machine", "ls", "--json", "--state-dir", str(root / "vms")]
        done = subprocess.run(asked, capture_output=True, timeout=60, check=False)
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, b"[]", b"")


class TestUnfit:
    def refusal(self, monkeypatch, named: object) -> str:
        monkeypatch.setenv(ENGINE_VARIABLE, str(named))
        with pytest.raises(CapabilityError) as caught:
            current_engine()
        return str(caught.value)

    @pytest.mark.parametrize("version", ["1.31.9", "0.9.0", "2.0.0", "10.32.0"])
    def test_a_version_that_was_never_tried(self, tmp_path, monkeypatch, version):
        path = program(tmp_path / "smolvm", f"smolvm {version}")
        words = self.refusal(monkeypatch, path)
        assert f"{path} is smolvm {version}, and this release knows 1.32 and later of 1.x." in words
        assert f"{ENGINE_VARIABLE}=/path/to/smolvm" in words

    @pytest.mark.parametrize("version", ["1.32", "1.32.0", "1.99.3", "1.32.2-rc.1"])
    def test_later_ones_are_taken(self, tmp_path, monkeypatch, version):
        monkeypatch.setenv(ENGINE_VARIABLE, str(program(tmp_path / "smolvm", f"smolvm {version}")))
        assert version.startswith(current_engine().version)

    def test_a_program_that_says_no_version(self, tmp_path, monkeypatch):
        path = program(tmp_path / "smolvm", "hello")
        assert f"{path} --version says no version." in self.refusal(monkeypatch, path)

    def test_a_program_that_fails(self, tmp_path, monkeypatch):
        path = program(tmp_path / "smolvm", ends=3)
        assert f"{path} --version ends with 3: trouble" in self.refusal(monkeypatch, path)

    def test_a_program_for_other_hosts(self, tmp_path, monkeypatch):
        path = tmp_path / "smolvm"
        path.write_bytes(b"\x7fELF\x02nonsense")
        path.chmod(0o755)
        assert "Exec format error" in self.refusal(monkeypatch, path)

    def test_a_program_that_hangs(self, tmp_path, monkeypatch):
        path = tmp_path / "smolvm"
        path.write_text("#!/bin/sh\nPATH=/usr/bin:/bin exec sleep 60\n")
        path.chmod(0o755)
        monkeypatch.setattr(engine, "_VERSION_TIMEOUT", 0.3)
        assert "no end after 0.3 s" in self.refusal(monkeypatch, path)

    @pytest.mark.parametrize("named", ["/none/smolvm", "no-such-program", "/etc/passwd", "/"])
    def test_a_setting_that_names_no_program(self, monkeypatch, named):
        words = self.refusal(monkeypatch, named)
        assert f"{ENGINE_VARIABLE} names {named}, which is no program." in words


@pytest.fixture(scope="session")
def real_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vendor's wheel, unpacked; the tests' own environment stays without it."""
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", WHEEL]
    done = subprocess.run(
        [*command, "--dest", str(directory)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"no {WHEEL} to be had here: {done.stderr.strip()[-300:]}")
    (archive,) = directory.glob("*.whl")
    with zipfile.ZipFile(archive) as files:
        files.extractall(directory / "site")
    (directory / "site" / "smol" / "smol-vmm").chmod(0o755)
    return directory / "site"
