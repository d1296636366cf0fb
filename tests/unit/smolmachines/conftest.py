"""A `smolvm` that answers as the real one was recorded to; see tools/capture_smolvm.py."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_bottle.backends.smolmachines.smolvm import Smolvm
from pytest_bottle.state.directory import STATE_VARIABLE

RECORDING = json.loads((Path(__file__).with_name("transcript.json")).read_text())
CASES: dict[str, list[dict[str, Any]]] = RECORDING["cases"]

FILES = "/capture/files"
"""Where the files were that the recorded command lines name."""

NOT_RECORDED = 97

PROGRAM = """\
#!{python}
import json, sys
for entry in json.load(open({entries!r})):
    if entry["argv"] == sys.argv[1:]:
        break
else:
    print("not recorded:", sys.argv[1:], file=sys.stderr)
    sys.exit({not_recorded})
data = lambda text: text.encode(errors="surrogateescape")
if sys.stdin.buffer.read() != data(entry["input"]):
    print("another input was recorded", file=sys.stderr)
    sys.exit({not_recorded})
sys.stdout.buffer.write(data(entry["stdout"]))
sys.stderr.buffer.write(data(entry["stderr"]))
sys.exit(entry["returncode"])
"""

Replay = Callable[..., Smolvm]


@pytest.fixture
def replay(tmp_path: Path) -> Replay:
    """Return an engine that answers as it did in the cases of these titles, and nothing else."""

    def make(*titles: str) -> Smolvm:
        entries = tmp_path / "entries.json"
        entries.write_text(json.dumps([entry for title in titles for entry in CASES[title]]))
        program = tmp_path / "smolvm"
        program.write_text(
            PROGRAM.format(python=sys.executable, entries=str(entries), not_recorded=NOT_RECORDED)
        )
        program.chmod(0o755)
        return Smolvm(program, Path("/capture/state"))

    return make


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of this test alone."""
    root = tmp_path / "state"
    monkeypatch.setenv(STATE_VARIABLE, str(root))
    return root
