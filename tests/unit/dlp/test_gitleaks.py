"""`gitleaks` is asked where it is installed, and its report is read."""

from __future__ import annotations

import os
import random
import shutil
import string
import sys

import pytest

from pytest_bottle.errors import InfraError
from pytest_bottle.gateway.dlp import gitleaks

REPORT = """[
 {
  "RuleID": "github-pat",
  "Description": "Uncovered a GitHub Personal Access Token.",
  "StartLine": 3,
  "EndLine": 3,
  "StartColumn": 9,
  "EndColumn": 48,
  "Match": "token = abcd_0123456789",
  "Secret": "abcd_0123456789",
  "File": "%(file)s",
  "SymlinkFile": "",
  "Commit": "",
  "Entropy": 4.7,
  "Author": "",
  "Email": "",
  "Date": "",
  "Message": "",
  "Tags": [],
  "Fingerprint": "%(file)s:github-pat:3"
 }
]
"""
"""In the form that gitleaks documents for its JSON reports."""

STAND_IN = """#!{python}
import json, pathlib, sys
arguments = sys.argv[1:]
pathlib.Path({seen!r}).write_text(json.dumps([arguments, sys.stdin.read()]))
report = arguments[arguments.index("--report-path") + 1]
pathlib.Path(report).write_text({report!r} % {{"file": {file!r}}})
sys.exit({status})
"""
"""A recorded answer, and not a search: it shows how the program is started and read."""


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """Install a program that answers as `gitleaks` does."""
    programs = tmp_path / "bin"
    programs.mkdir()

    def install(*, report=REPORT, file="", status=0):
        program = programs / "gitleaks"
        program.write_text(
            STAND_IN.format(
                python=sys.executable,
                seen=str(tmp_path / "seen.json"),
                report=report,
                file=file,
                status=status,
            )
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        return tmp_path / "seen.json"

    return install


def test_a_directory_s_findings_are_named_by_the_files_in_it(recorded, tmp_path):
    seen = recorded(file=str(tmp_path / "tree" / "src" / "app.py"))
    (finding,) = gitleaks.scan_directory(tmp_path / "tree")
    assert (finding.rule, finding.where, finding.line) == ("github-pat", "src/app.py", 3)
    assert finding.evidence == "(15 characters)"
    assert '["dir", ' in seen.read_text()


def test_bytes_are_given_to_its_standard_input(recorded):
    seen = recorded()
    (finding,) = gitleaks.scan_stdin(b"the text", "commit 1234")
    assert (finding.rule, finding.where) == ("github-pat", "commit 1234")
    assert '"the text"' in seen.read_text()


@pytest.mark.parametrize("report", ["[]", "null"])
def test_a_report_of_nothing_is_no_finding(recorded, report):
    recorded(report=report)
    assert gitleaks.scan_stdin(b"x", "x") == []


def test_a_failure_says_that_the_search_is_not_complete(recorded):
    recorded(status=126)
    with pytest.raises(InfraError, match=r"status 126, so the search .* is not complete"):
        gitleaks.scan_stdin(b"x", "x")


@pytest.mark.parametrize("report", ["not JSON", '{"a": 1}', '[{"a": 1}]'])
def test_a_report_that_cannot_be_read_is_a_failure(recorded, report):
    recorded(report=report)
    with pytest.raises(InfraError, match="no report that can be read"):
        gitleaks.scan_stdin(b"x", "x")


def test_where_it_is_not_installed_there_are_no_findings(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gitleaks.installed() is None
    assert gitleaks.scan_directory(tmp_path) == []


@pytest.mark.skipif(shutil.which("gitleaks") is None, reason="gitleaks is not installed")
def test_the_real_program_finds_a_key(tmp_path):
    key = "ghp_" + "".join(random.Random(8).choices(string.ascii_letters + string.digits, k=36))
    (tmp_path / "app.py").write_text(f'\n\ntoken = "{key}"\n')
    (finding,) = gitleaks.scan_directory(tmp_path)
    assert (finding.rule, finding.where, finding.line) == ("github-pat", "app.py", 3)
    assert key not in finding.evidence
    assert [each.rule for each in gitleaks.scan_stdin(key.encode(), "x")] == ["github-pat"]
