"""Removes a machine for good, also one whose start was under way when its owner was killed.

The engine deletes what it knows. A program of it that is still booting the machine goes on, and
leaves a machine that runs and that no list has: it is found by its arguments.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle import process
from pytest_bottle.backends.smolmachines.failures import SmolvmError
from pytest_bottle.state.owner import Owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_bottle.backends.smolmachines.smolvm import Smolvm

_BOOT: Final = "_boot-vm"
"""The engine's word for the process that is the machine; a path in its directory follows."""

_STARTING: Final = frozenset({"create", "start", "branch"})

_DIGITS: Final = 16
"""Of the SHA-256 of a machine's name, by which the engine (1.32) calls its directory."""

_END_TIMEOUT: Final = 5.0
"""Seconds for a killed process to be gone."""


def remove_machine(smolvm: Smolvm, name: str, *, cascade: bool = False) -> None:
    """Remove a machine, running, booting or gone already.

    Args:
        smolvm: the engine.
        name: the machine's.
        cascade: whether its branches are removed as well, instead of forbidding it.

    Raises:
        SmolvmError: the engine refused, as for a machine with branches.
    """
    _kill(_starting(smolvm, name))
    smolvm.machine_delete(name, cascade=cascade)
    _kill(_booted(name))


def remove_quietly(smolvm: Smolvm, name: str) -> None:
    """Remove a machine as far as the engine lets us; the journal knows it otherwise."""
    with contextlib.suppress(SmolvmError):
        remove_machine(smolvm, name, cascade=True)


def _starting(smolvm: Smolvm, name: str) -> Iterator[Owner]:
    """Find the engine's programs that are bringing a machine about."""
    program = str(smolvm.program)
    for owner, words in _processes():
        if program not in words:
            continue
        noun, verb, *rest = [*words[words.index(program) + 1 :], "", ""]
        pairs = itertools.pairwise(rest)
        if noun == "machine" and verb in _STARTING and ("--name", name) in pairs:
            yield owner


def _booted(name: str) -> Iterator[Owner]:
    """Find the process that is a machine, which nothing of the engine's lists any more."""
    directory = hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
    for owner, words in _processes():
        if words[1:2] == [_BOOT] and f"/{directory}/" in " ".join(words[2:]):
            yield owner


def _kill(owners: Iterator[Owner]) -> None:
    for owner in owners:
        with contextlib.suppress(OSError):
            if owner.kill():
                owner.wait(_END_TIMEOUT)


def _processes() -> Iterator[tuple[Owner, list[str]]]:
    """Return this host's processes that this user may signal, with their command lines."""
    for pid, words in _on_linux() if sys.platform == "linux" else _elsewhere():
        with contextlib.suppress(OSError):
            yield Owner.of(pid), words


def _on_linux() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # It has ended.
                line = (entry / "cmdline").read_bytes()
                yield int(entry.name), [os.fsdecode(word) for word in line.split(b"\0")[:-1]]


def _elsewhere() -> Iterator[tuple[int, list[str]]]:
    done = process.run(["/bin/ps", "-axo", "pid=,args="], timeout=10)
    for line in done.stdout.decode(errors="replace").splitlines():
        pid, *words = line.split()
        if pid.isdigit():
            yield int(pid), words
