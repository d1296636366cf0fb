"""Finds the smolvm engine: the one that is named, else that on PATH, else the wheel's.

The wheel's program is called `smol-vmm`, and complains at each call unless it is called `smolvm`
with its libraries beside it: it gets a directory of ours where it is.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_bottle import process
from pytest_bottle.errors import CapabilityError
from pytest_bottle.state.directory import bin_directory

ENGINE_VARIABLE: Final = "BOTTLE_SMOLVM"
"""Names the engine's program; the ini key `bottle_smolvm` does the same."""

MINIMUM_VERSION: Final = (1, 32)
"""The first release that was run with this backend."""

INSTALL: Final = "pip install 'pytest-bottle[smolvm]', or install smolvm and put it on PATH"

_PACKAGE: Final = "smol"
_PROGRAM: Final = "smol-vmm"
_NAME: Final = "smolvm"

_VERSION_TIMEOUT: Final = 20.0


@dataclass(frozen=True, slots=True)
class EngineProgram:
    """A smolvm that may be run."""

    path: Path
    origin: str
    """Where it was found."""
    version: str


@functools.cache
def find_engine(named: str | None = None) -> EngineProgram:
    """Return the engine of this host; the search is made once per process and name.

    Args:
        named: what `BOTTLE_SMOLVM` says, if anything.

    Raises:
        CapabilityError: there is none, or it is of a version that is not known to work.
    """
    path, origin = _search(named)
    version = _version_of(path)
    numbers = tuple(int(part) for part in version.split(".")[:2])
    if numbers < MINIMUM_VERSION or numbers[0] != MINIMUM_VERSION[0]:
        oldest = ".".join(map(str, MINIMUM_VERSION))
        raise CapabilityError(
            _NAME,
            reason=f"{path} is smolvm {version}, and this release knows {oldest} and later of "
            f"{MINIMUM_VERSION[0]}.x.",
            fix=f"install another one ({INSTALL}), or name it: {ENGINE_VARIABLE}=/path/to/smolvm",
        )
    return EngineProgram(path, origin, version)


def current_engine() -> EngineProgram:
    """Return the engine that the environment asks for; see `find_engine`."""
    return find_engine(os.environ.get(ENGINE_VARIABLE) or None)


def _search(named: str | None) -> tuple[Path, str]:
    if named is not None:
        found = shutil.which(named)
        if found is None:
            raise CapabilityError(
                _NAME,
                reason=f"{ENGINE_VARIABLE} names {named}, which is no program.",
                fix=f"correct it, or leave it out: {INSTALL}",
            )
        return Path(found), ENGINE_VARIABLE
    if (found := shutil.which(_NAME)) is not None:
        return Path(found), "PATH"
    bundled = _bundled()
    if bundled is None:
        raise CapabilityError(
            _NAME, reason="there is no smolvm on PATH, nor its wheel.", fix=INSTALL
        )
    return _called_smolvm(bundled), "the smolmachines wheel"


def _bundled() -> Path | None:
    """Return the wheel's program, without importing the package."""
    spec = importlib.util.find_spec(_PACKAGE)
    for place in (spec and spec.submodule_search_locations) or ():
        program = Path(place) / _PROGRAM
        if program.is_file():
            return program
    return None


def _called_smolvm(bundled: Path) -> Path:
    """Return the wheel's program under the name that it wants, beside its own files."""
    seen = bundled.stat()
    identity = f"{seen.st_dev:x}-{seen.st_ino:x}-{seen.st_size:x}-{seen.st_mtime_ns:x}"
    directory = bin_directory() / f"{_NAME}-{identity}"
    program = directory / _NAME
    if program.is_file():
        return program
    draft = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{_NAME}-"))
    draft.chmod(0o755)
    try:
        shutil.copyfile(bundled, draft / _NAME)
        (draft / _NAME).chmod(0o755)
        for entry in bundled.parent.iterdir():
            if entry.name != _PROGRAM:
                (draft / entry.name).symlink_to(entry)
        with contextlib.suppress(OSError):  # Another process was first.
            draft.rename(directory)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return program


def _version_of(path: Path) -> str:
    """Return what a program says of itself.

    Raises:
        CapabilityError: it is no engine, or none for this host.
    """
    try:
        done = process.run([str(path), "--version"], timeout=_VERSION_TIMEOUT)
    except (OSError, TimeoutError) as error:
        problem = f"fails: {error}"
    else:
        found = re.search(rb"(\d+\.\d+(?:\.\d+)?)", done.stdout)
        if done.returncode == 0 and found:
            return found[1].decode()
        problem = "says no version"
        if done.returncode != 0:
            words = done.stderr.decode(errors="replace").strip()[-300:]
            problem = f"ends with {done.returncode}: {words}"
    raise CapabilityError(
        _NAME, reason=f"{path} --version {problem}.", fix=f"install it anew ({INSTALL})"
    )
