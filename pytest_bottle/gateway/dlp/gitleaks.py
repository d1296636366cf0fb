"""Runs `gitleaks`, where it is installed, and reads its report."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle import process
from pytest_bottle.errors import InfraError
from pytest_bottle.gateway.dlp.finding import Finding
from pytest_bottle.gateway.dlp.finding import redacted

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT: Final = 120.0
"""Seconds that one run may take."""

_LEAKS_FOUND = 0
"""The status with which it is to end after a report; of itself it ends with 1 for errors too."""


def installed() -> str | None:
    """Return the path of `gitleaks`; None where it is not on PATH."""
    return shutil.which("gitleaks")


def scan_directory(path: Path, *, config: Path | None = None) -> list[Finding]:
    """Return what `gitleaks` finds in a directory's files; nothing where it is not installed.

    The directory's own configuration and `gitleaks:allow` comments are not heeded: whoever wrote
    the files must not decide what is looked for. Its `.gitleaksignore` is, whatever it is told:
    do not put one there.

    Args:
        path: The directory.
        config: A configuration to use instead of its own rules.

    Raises:
        InfraError: it fails, does not end in time, or its report is not as documented.
    """
    findings = _run(["dir", str(path)], config=config)
    return [_finding(each, _within(path, str(each["File"]))) for each in findings]


def scan_stdin(data: bytes, where: str, *, config: Path | None = None) -> list[Finding]:
    """Return what `gitleaks` finds in some bytes; nothing where it is not installed.

    Args:
        data: What is searched.
        where: What it is, for the findings.
        config: A configuration to use instead of its own rules.

    Raises:
        InfraError: it fails, does not end in time, or its report is not as documented.
    """
    return [_finding(each, where) for each in _run(["stdin"], data=data, config=config)]


def _run(command: Sequence[str], *, config: Path | None, data: bytes | None = None) -> list[Any]:
    program = installed()
    if program is None:
        return []
    with tempfile.TemporaryDirectory(prefix="gitleaks-") as scratch:
        # The report has the secrets in it: it is nowhere else, and for nobody else.
        report = Path(scratch) / "report.json"
        argv = [
            *(program, *command),
            *("--report-format", "json", "--report-path", str(report)),
            *("--exit-code", str(_LEAKS_FOUND), "--no-banner", "--log-level", "error"),
            *("--gitleaks-ignore-path", scratch, "--ignore-gitleaks-allow"),
            *("--max-decode-depth", "3", "--max-archive-depth", "3"),
        ]
        if config is None:
            # Else it would take the configuration that is in the searched directory.
            config = Path(scratch) / "gitleaks.toml"
            config.write_text("[extend]\nuseDefault = true\n")
        argv += ["--config", str(config)]
        try:
            ended = process.run(argv, timeout=TIMEOUT, input=data, cwd=scratch, env=_environment())
        except TimeoutError:
            raise _failed(f"did not end within {TIMEOUT:g} s", "Search less at once.") from None
        except OSError as error:
            raise _failed(f"cannot be started ({error.strerror})", "Reinstall it.") from None
        if ended.returncode != _LEAKS_FOUND:
            # What it writes may quote what it read.
            raise _failed(
                f"ended with status {ended.returncode}", "Run `gitleaks version`: it needs 8.27."
            )
        return _read(report)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("GITLEAKS_")}


def _read(report: Path) -> list[Any]:
    try:
        findings = json.loads(report.read_bytes()) or []
    except (OSError, ValueError):
        findings = None
    if not isinstance(findings, list) or not all(
        isinstance(each, dict) and {"RuleID", "Secret", "File", "StartLine"} <= each.keys()
        for each in findings
    ):
        raise _failed("wrote no report that can be read", "It needs version 8.27 or newer.")
    return findings


def _failed(problem: str, remedy: str) -> InfraError:
    return InfraError(f"gitleaks {problem}, so the search for secrets is not complete. {remedy}")


def _finding(reported: Any, where: str) -> Finding:  # noqa: ANN401 - of a JSON report
    line = reported["StartLine"]
    evidence = redacted(str(reported["Secret"]))
    return Finding(str(reported["RuleID"]), where, evidence, line if line and line > 0 else None)


def _within(directory: Path, file: str) -> str:
    path = Path(file)
    return str(path.relative_to(directory)) if path.is_relative_to(directory) else file
