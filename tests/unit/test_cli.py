"""The command `pytest-bottle`: schema, ps, reap, enter and doctor."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from pytest_bottle.cli import main
from pytest_bottle.state.resource import Resource

DEAD_RUN = """
import sys
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.resource import Resource
from pytest_bottle.state.run import Run
run = Run.join("deadbeef0000", "main", Owner.current())
for name in ("bottle-left", "bottle-kept"):
    directory = run.bottle_directory(name)
    run.journal.add(name, [Resource(kind="directory", id=str(directory))])
run.journal.keep("bottle-kept")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def dead_run(root, start_python):
    """A run whose controller was killed, with one bottle left and one kept."""
    process = start_python(DEAD_RUN)
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.wait()
    return root / "runs" / "deadbeef0000"


def rows(text: str) -> dict[str, list[str]]:
    lines = [line.split() for line in text.splitlines()]
    return {words[0]: words[1:] for words in lines}


class TestSchema:
    def test_it_is_a_json_schema_of_the_manifest(self, capsys):
        assert main(["schema"]) == 0
        schema = json.loads(capsys.readouterr().out)
        assert {"agents", "bottles"} <= set(schema["properties"])

    def test_it_can_be_written_to_a_file(self, capsys, tmp_path):
        assert main(["schema", "-o", str(tmp_path / "schema.json")]) == 0
        assert capsys.readouterr().out == ""
        assert json.loads((tmp_path / "schema.json").read_text())["properties"]


@pytest.mark.usefixtures("root")
class TestPs:
    def test_without_bottles_there_is_only_the_heading(self, capsys):
        assert main(["ps"]) == 0
        assert capsys.readouterr().out.split() == ["BOTTLE", "BACKEND", "STATE", "OWNER"]

    def test_bottles_of_the_living_and_of_the_dead(self, capsys, run, dead_run):
        run.journal.add("bottle-mine", [Resource(kind="fake:thing", id="t")])
        assert dead_run.is_dir()
        assert main(["ps"]) == 0
        shown = rows(capsys.readouterr().out)
        assert shown["bottle-mine"] == ["?", "running", "pid", str(os.getpid())]
        assert shown["bottle-left"][:2] == ["?", "orphan"]
        assert shown["bottle-kept"][:2] == ["?", "kept"]


class TestReap:
    def test_what_the_dead_left_goes_and_what_was_kept_stays(self, capsys, dead_run):
        assert main(["reap"]) == 0
        assert "bottle-left" in capsys.readouterr().out
        assert not (dead_run / "bottle-left").exists()
        assert (dead_run / "bottle-kept").is_dir()

    def test_what_was_kept_goes_when_asked(self, capsys, dead_run):
        assert main(["reap", "--kept"]) == 0
        assert capsys.readouterr().out.splitlines()[-1].endswith("0 not removed")
        assert not dead_run.exists()

    @pytest.mark.parametrize(("name", "other"), [("kept", "left"), ("left", "kept")])
    def test_one_can_go_by_its_name(self, capsys, dead_run, name, other):
        assert main(["reap", f"bottle-{name}"]) == 0
        assert capsys.readouterr().out.endswith("1 removed, 0 not removed\n")
        assert not (dead_run / f"bottle-{name}").exists()
        assert (dead_run / f"bottle-{other}").is_dir()
        assert main(["reap", f"bottle-{other}"]) == 0
        assert not dead_run.exists(), "with its last bottle the run goes"

    def test_one_that_is_in_use_is_refused(self, run, capsys):
        directory = run.bottle_directory("bottle-mine")
        run.journal.add("bottle-mine", [Resource(kind="directory", id=str(directory))])
        assert main(["reap", "bottle-mine"]) == 1
        assert f"bottle-mine is in use: it ends with process {os.getpid()}" in (
            capsys.readouterr().err
        )
        assert directory.is_dir()

    def test_one_that_is_kept_may_go_while_its_run_goes_on(self, run, capsys):
        directory = run.bottle_directory("bottle-mine")
        run.journal.add("bottle-mine", [Resource(kind="directory", id=str(directory))])
        run.journal.keep("bottle-mine")
        assert main(["reap", "bottle-mine"]) == 0
        assert capsys.readouterr().out.endswith("1 removed, 0 not removed\n")
        assert not directory.exists()
        assert run.directory.is_dir()
        assert main(["reap", "bottle-mine"]) == 1
        assert "there is no bottle 'bottle-mine'" in capsys.readouterr().err

    def test_the_living_are_left_alone(self, run, capsys):
        directory = run.bottle_directory("bottle-mine")
        run.journal.add("bottle-mine", [Resource(kind="directory", id=str(directory))])
        assert main(["reap", "--kept"]) == 0
        assert capsys.readouterr().out == "0 removed, 0 not removed\n"
        assert directory.is_dir()

    def test_what_resists_is_told_and_makes_it_fail(self, run, capsys, dead_run, start_python):
        script = DEAD_RUN.replace("deadbeef0000", "deadbeef0001").replace(
            'kind="directory", id=str(directory)', 'kind="nobodys:thing", id="t"'
        )
        process = start_python(script)
        process.stdout.readline()
        process.kill()
        process.wait()
        assert run.directory.is_dir()
        assert dead_run.is_dir()
        assert main(["reap"]) == 1
        assert "not removed nobodys:thing t: " in capsys.readouterr().err


@pytest.mark.usefixtures("root")
class TestEnter:
    def test_an_unknown_name_is_refused(self, capsys):
        assert main(["enter", "no-such-bottle"]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err == (
            "pytest-bottle: there is no bottle 'no-such-bottle'; `pytest-bottle ps` lists them\n"
        )

    def test_one_that_is_not_up_yet_is_refused(self, capsys, run):
        run.journal.add("bottle-mine", [Resource(kind="fake:thing", id="t")])
        assert main(["enter", "bottle-mine"]) == 1
        assert "bottle-mine is not up yet" in capsys.readouterr().err


class TestArguments:
    @pytest.mark.parametrize("argv", [[], ["no-such-command"], ["ps", "--no-such-option"]])
    def test_what_is_wrong_is_told_with_the_usage(self, capsys, argv):
        with pytest.raises(SystemExit) as caught:
            main(argv)
        assert caught.value.code == 2
        assert "usage: pytest-bottle" in capsys.readouterr().err

    def test_an_error_of_ours_is_a_sentence(self, capsys, monkeypatch, tmp_path):
        (tmp_path / "link").symlink_to(tmp_path)
        monkeypatch.setenv("BOTTLE_STATE_DIR", str(tmp_path / "link"))
        assert main(["ps"]) == 1
        assert capsys.readouterr().err.startswith("pytest-bottle: refused to keep state in")


class TestDoctor:
    @pytest.fixture
    def doctor(self, root, tmp_path):
        def examine(*options: str, **variables: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "pytest_bottle", "doctor", *options],
                capture_output=True,
                text=True,
                cwd=tmp_path,
                env={**os.environ, "BOTTLE_STATE_DIR": str(root), **variables},
                timeout=60,
                check=False,
            )

        return examine

    def test_it_shows_settings_with_their_sources_and_capabilities(self, doctor, tmp_path):
        (tmp_path / "pytest.ini").write_text("[pytest]\nbottle_timeout = 7\n")
        shown = doctor("--bottle-scope=module", BOTTLE_KEEP="failed").stdout
        assert re.search(r"--bottle-timeout +7\.0 .*ini", shown)
        assert re.search(r"--bottle-scope +module .*command line", shown)
        assert re.search(r"--bottle-keep +failed .*BOTTLE_KEEP", shown)
        assert re.search(rf"^  (yes|no ) {sys.platform}: ", shown, re.MULTILINE)
        assert re.search(r"^  (yes|no ) bubblewrap \(process sandbox\): ", shown, re.MULTILINE)

    def test_it_fails_where_something_required_is_missing_and_tells_how_to_fix_it(
        self, doctor, root
    ):
        """And leaves no state behind."""
        absent = "darwin" if sys.platform == "linux" else "linux"
        done = doctor(f"--bottle-require={absent}")
        assert done.returncode == 1
        lines = done.stdout.splitlines()
        missing = [place for place, line in enumerate(lines) if line.startswith("  no  ")]
        assert any(lines[place].startswith(f"  no  {absent}: ") for place in missing)
        assert all(lines[place + 1].startswith("      fix: ") for place in missing)
        assert list(root.glob("runs/*")) == []
