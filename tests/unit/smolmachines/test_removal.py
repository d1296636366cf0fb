"""Machines that are removed while they start: nothing of the engine's runs on."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.backends.smolmachines.failures import SmolvmError
from pytest_bottle.backends.smolmachines.removal import remove_machine
from pytest_bottle.backends.smolmachines.removal import remove_quietly
from pytest_bottle.backends.smolmachines.smolvm import Smolvm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENGINE = """\
#!/bin/sh
case "$2" in
    start) read -r _ ;;
    delete)
        message="vm not found: it"
        [ ! -e "$(dirname "$0")/stubborn" ] || message="database is locked"
        echo '{"error":{"code":"NOT_FOUND","message":"'"$message"'"}}' >&2
        exit 1 ;;
esac
"""


@pytest.fixture
def smolvm(tmp_path: Path) -> Smolvm:
    """An engine that knows no machine, and whose starts take for ever."""
    engine = tmp_path / "smolvm"
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    return Smolvm(engine)


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        with process:
            process.kill()


@pytest.fixture
def boot(tmp_path, started):
    """Start what a machine's own process looks like."""
    (tmp_path / "_boot-vm").write_text("import time; time.sleep(60)")

    def start(name: str) -> subprocess.Popen[bytes]:
        directory = hashlib.sha256(name.encode()).hexdigest()[:16]
        argv = [sys.executable, "_boot-vm", f"/state/vms/{directory}/boot-config.json"]
        process = subprocess.Popen(argv, cwd=tmp_path)
        started.append(process)
        return process

    return start


def test_a_machine_that_no_list_has_is_ended(smolvm, boot):
    process = boot("it")
    remove_machine(smolvm, "it")
    assert process.wait(5) < 0


def test_others_go_on(smolvm, boot):
    process = boot("other")
    remove_machine(smolvm, "it")
    assert process.poll() is None


def test_a_start_that_is_under_way_is_ended(smolvm, started):
    for name in ("it", "other"):
        argv = [str(smolvm.program), "machine", "start", "--name", name]
        started.append(subprocess.Popen(argv, stdin=subprocess.PIPE))
    mine, others = started
    remove_machine(smolvm, "it")
    assert mine.wait(5) < 0
    assert others.poll() is None


def test_a_refusal_is_told(smolvm, tmp_path):
    (tmp_path / "stubborn").touch()
    with pytest.raises(SmolvmError, match="database is locked"):
        remove_machine(smolvm, "it")
    remove_quietly(smolvm, "it")
