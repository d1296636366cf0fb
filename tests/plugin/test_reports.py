"""Failure reports: what a failed test's bottle did, for people and in JUnit; silence otherwise."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

FAILING = """
    def test_it(bottle):
        bottle.sh("echo to-out; echo to-err >&2; exit 3")
        bottle.write_file("answer.txt", "forty-two")
        assert bottle.exec(["cat", "answer.txt"]).stdout == "42"
"""


def properties(pytester: pytest.Pytester) -> list[tuple[str, str]]:
    """Return the only test's properties in the JUnit report, in order."""
    (case,) = ET.parse(pytester.path / "junit.xml").iter("testcase")
    return [(entry.attrib["name"], entry.attrib["value"]) for entry in case.iter("property")]


def test_failed_test_shows_commands_output_and_changes(pytester, run):
    """Return codes, the ends of the streams, and what is different in the workspace."""
    pytester.makepyfile(FAILING)
    result = run("--bottle-backend=bubblewrap")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- bottle bottle-*-main-1 -*",
            "backend: bubblewrap (process sandbox)",
            "commands: the last 2 of 2, with return code and time",
            "  [[]3[]] /bin/sh -c 'echo to-out; echo to-err >&2; exit 3' (* s)",
            "    out: to-out",
            "    err: to-err",
            "  [[]0[]] cat answer.txt (* s)",
            "    out: forty-two",
            "workspace: 1 changes since it was provisioned",
            "*answer.txt*",
            "*forty-two*",
        ]
    )


def test_same_under_xdist(pytester, run):
    """The report travels from the worker."""
    pytester.makepyfile(FAILING)
    result = run("-n2", "--junit-xml=junit.xml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*- bottle bottle-*-gw?-1 -*", "  [[]0[]] cat answer.txt (* s)"])
    assert ("bottle.backend", "bubblewrap") in properties(pytester)


def test_passing_test_shows_nothing(pytester, run):
    """Neither on the terminal nor in JUnit."""
    pytester.makepyfile("def test_it(bottle): bottle.sh('echo quiet')")
    result = run("--junit-xml=junit.xml", "-rA")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*quiet*")
    assert properties(pytester) == []


def test_junit_has_the_same_as_properties(pytester, run):
    """For whoever reads reports by machine."""
    pytester.makepyfile(FAILING)
    run("--junit-xml=junit.xml", "--bottle-artifacts=evidence")
    found = dict(properties(pytester))
    assert found["bottle.name"].startswith("bottle-")
    assert found["bottle.backend"] == "bubblewrap"
    assert found["bottle.command"].startswith("[0] cat answer.txt (")
    assert found["bottle.artifacts"].startswith(f"{pytester.path}/evidence/test_")
    assert "bottle.outcome" not in found


def test_all_bottles_of_a_test_are_shown(pytester, run):
    """Those of the factory too, each with its own commands."""
    pytester.makepyfile(
        """
        def test_it(bottle, bottle_factory):
            other = bottle_factory()
            bottle.sh("echo in-the-first")
            other.sh("echo in-the-second")
            assert False
        """
    )
    result = run()
    result.stdout.fnmatch_lines(
        [
            "*- bottle bottle-*-main-1 -*",
            "    out: in-the-first",
            "*- bottle bottle-*-main-2 -*",
            "    out: in-the-second",
        ]
    )


def test_failure_of_a_later_fixture_is_reported_too(pytester, run):
    """What was done in the bottle until then may well be the reason."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def server(bottle):
            bottle.sh("echo cannot bind >&2; exit 98")
            raise RuntimeError("no server")

        def test_it(server): pass
        """
    )
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*- bottle bottle-*-main-1 -*", "    err: cannot bind"])


def test_long_stories_are_cut(pytester, run):
    """The end is what matters, and what is missing is counted."""
    pytester.makepyfile(
        """
        def test_it(bottle):
            for number in range(12):
                bottle.sh(f"echo early-{number}")
            bottle.sh("seq 100")
            assert False
        """
    )
    result = run()
    result.stdout.fnmatch_lines(
        [
            "commands: the last 10 of 13, with return code and time",
            "    out: early-3",
            "    out: ... 80 lines more",
            "    out: 81",
        ]
    )
    result.stdout.no_fnmatch_line("    out: early-2")
    result.stdout.no_fnmatch_line("    out: 80")


def test_command_that_ran_out_of_time_is_in_the_story(pytester, run):
    """With what it had written until then."""
    pytester.makepyfile("def test_it(bottle): bottle.sh('echo half; exec sleep 60', timeout=0.3)")
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *pytest_bottle.errors.ExecTimeoutError: timed out after 0.3 s *",
            "  [[]ExecTimeoutError: timed out after 0.3 s *",
            "    out: half",
        ]
    )


def test_traceback_ends_where_the_author_called(pytester, run):
    """The plugin's own frames say nothing; `--full-trace` has them."""
    pytester.makepyfile("def test_it(bottle):\n    bottle.exec(['false']).check()\n")
    run().stdout.fnmatch_lines(
        [
            ">*bottle.exec([[]'false'[]]).check()",
            "E *pytest_bottle.errors.CommandError: command failed with return code 1: false",
            "",
            "test_*.py:2: CommandError",
            "*- bottle *",
        ]
    )
    run("--full-trace").stdout.fnmatch_lines(["*pytest_bottle*.py:*: CommandError"])


@pytest.mark.parametrize("bottle", ["test", "factory"])
def test_secret_is_redacted_everywhere(pytester, run, monkeypatch, bottle):
    """In commands, output, file changes, properties and artifacts; also where it is encoded."""
    monkeypatch.setenv("API_KEY", "hunter2hunter2")
    fixture = "bottle_factory(secrets=['API_KEY'])" if bottle == "factory" else "bottle"
    pytester.makepyfile(
        f"""
        import os
        import pytest

        @pytest.mark.bottle(secrets=["API_KEY"])
        def test_it(bottle, bottle_factory):
            box = {fixture}
            key = os.environ["API_KEY"]
            box.write_file("leak.txt", f"key={{key}}\\n")
            box.sh(f"echo {{key}}; echo -n {{key}} | base64 >&2")
            assert not box.exists("leak.txt")
        """
    )
    result = run("--junit-xml=junit.xml", "--bottle-artifacts=evidence", "--no-showlocals")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["    out: [[]secret API_KEY[]]", "*key=[[]secret API_KEY[]]"])
    files = [path for path in (pytester.path / "evidence").rglob("*") if path.is_file()]
    written = [path.read_text() for path in files]
    shown = [result.stdout.str(), (pytester.path / "junit.xml").read_text(), *written]
    assert {path.suffix for path in files} == {".jsonl", ".diff", ".html"}
    for text in shown:
        assert "hunter2" not in text
        assert "aHVudGVyMmh1bnRlcjI" not in text


def test_error_of_the_manifest_needs_no_traceback(pytester, run):
    """Its own words say file, key and remedy."""
    pytester.makefile(".toml", bottle="[bottles.default]\nimage = './nowhere'\n")
    pytester.makepyfile("def test_it(bottle): pass")
    result = run()
    result.stdout.fnmatch_lines(
        [
            "*_ ERROR at setup of test_it _*",
            "*bottle.toml: bottles.default.image: there is no directory *nowhere. *",
            "*= short test summary info =*",
        ],
        consecutive=True,
    )


def test_no_terminal_no_capture_no_problem(pytester, run):
    """Other plugins may have taken their places."""
    pytester.makepyfile(FAILING)
    result = run("-p", "no:terminal", "--junit-xml=junit.xml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert dict(properties(pytester))["bottle.backend"] == "bubblewrap"
    run("-p", "no:capture").assert_outcomes(failed=1)
