"""`--bottle-artifacts`: evidence as files, for whoever comes after the run."""

from __future__ import annotations

import json


def test_commands_are_written_as_they_happen(pytester, run):
    """A line of JSON each, below a directory named after the test; for passing tests too."""
    pytester.makepyfile(
        """
        def test_it(bottle, pytestconfig):
            bottle.sh("echo one; exit 3")
            (record,) = (pytestconfig.rootpath / "evidence").rglob("*.commands.jsonl")
            assert "echo one" in record.read_text()
            bottle.exec(["true"])
        """
    )
    run("--bottle-artifacts=evidence").assert_outcomes(passed=1)
    (record,) = (pytester.path / "evidence").glob("test_*.py-test_it*/bottle-*.commands.jsonl")
    first, second = map(json.loads, record.read_text().splitlines())
    assert first["argv"] == ["/bin/sh", "-c", "echo one; exit 3"]
    assert (first["outcome"], first["stdout"]) == ("3", "one\n")
    assert second["argv"] == ["true"]
    assert 0 <= second["duration"] < 30


def test_failed_test_has_its_changes_and_names_the_place(pytester, run):
    """The whole diff, which the report shows only the beginning of."""
    pytester.makepyfile(
        """
        def test_it(bottle):
            for number in range(70):
                bottle.write_file(f"file-{number:03}", "x")
            assert False
        """
    )
    result = run("--bottle-artifacts=evidence")
    (diff,) = (pytester.path / "evidence").rglob("*.diff")
    assert "file-069" in diff.read_text()
    result.stdout.fnmatch_lines(["  ... * lines more", f"artifacts: {diff.parent}"])


def test_each_parameter_has_a_directory(pytester, run):
    """Also where their names would be the same file's, or too long for one."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("word", ["a/b", "a:b", "x" * 95, "../../up"])
        def test_it(bottle, word):
            bottle.exec(["echo", word])
        """
    )
    run("--bottle-artifacts=evidence").assert_outcomes(passed=4)
    directories = list((pytester.path / "evidence").iterdir())
    assert len(directories) == 4
    assert all(len(list(directory.iterdir())) == 1 for directory in directories)


def test_shared_bottle_has_a_directory_of_its_own(pytester, run):
    """Its record is of all tests that used it."""
    pytester.makepyfile(
        """
        def test_one(bottle): bottle.exec(["echo", "one"])
        def test_two(bottle): bottle.exec(["echo", "two"])
        """
    )
    run("--bottle-artifacts=evidence", "--bottle-scope=module").assert_outcomes(passed=2)
    (record,) = (pytester.path / "evidence" / "scope-module").iterdir()
    assert [json.loads(line)["argv"][1] for line in record.read_text().splitlines()] == [
        "one",
        "two",
    ]


def test_nothing_is_written_where_nobody_asked(pytester, run):
    """Evidence stays in memory."""
    pytester.makepyfile("def test_it(bottle): assert bottle.exec(['false']).success")
    before = set(pytester.path.rglob("*"))
    run().assert_outcomes(failed=1)
    new = {path.name for path in set(pytester.path.rglob("*")) - before}
    assert not {name for name in new if name.endswith((".jsonl", ".diff"))}
