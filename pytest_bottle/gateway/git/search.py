"""Searches what a push brings for secrets, in a process of its own.

What it reads was made by a guest, to the last byte: a process can be bounded in time and memory,
and does not hold up the door, which serves all bottles of the run.
"""

from __future__ import annotations

import contextlib
import json
import re
import resource
import sys
import tempfile
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from typing import IO
from typing import TYPE_CHECKING
from typing import Any
from typing import Final
from typing import cast

from pytest_bottle import process
from pytest_bottle.gateway.dlp import gitleaks
from pytest_bottle.gateway.dlp.finding import Finding
from pytest_bottle.gateway.dlp.scanner import Scanner
from pytest_bottle.gateway.git.environment import GIT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Mapping
    from collections.abc import Sequence

MAX_FINDINGS: Final = 100
"""Of one push; who sees these knows what to do."""

TIMEOUT: Final = 300.0
"""Seconds for one search."""

MAX_MEMORY: Final = 4 * 2**30
"""Bytes of address space of the search."""

WINDOW: Final = 16 * 2**20
"""Bytes of a file that are searched at a time."""

_OVERLAP: Final = 2**16
"""Bytes that a window shares with the one before, so that nothing is cut in two."""

_LOOKED_UP: Final = 20
"""Files with findings of which it is looked up which commit brought them."""

_SHOWN: Final = 12
"""Digits of an object's name."""

_NO_TEXT: Final = (b"tree ", b"parent ", b"object ", b"type ")
_SIGNATURES: Final = (b"gpgsig ", b"gpgsig-sha256 ")


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be searched."""

    repository: str
    objects: dict[str, str]
    """Variables that say where git finds objects that are still in quarantine."""
    env: dict[str, str]
    """The environment of git programs."""
    refs: dict[str, str]
    """The new object of each ref."""
    secrets: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Object:
    name: str
    kind: str
    path: str
    size: int


def main() -> int:
    """Answer the question on standard input: findings in JSON, on standard output."""
    import pytest_bottle.gateway.dlp.shapes  # noqa: F401, PLC0415 - takes a while, so beforehand

    question = Question(**json.loads(sys.stdin.buffer.read()))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    found = []
    for finding in Search(question).findings():
        found.append(finding)
        if len(found) >= MAX_FINDINGS:
            break
    sys.stdout.write(json.dumps([asdict(finding) for finding in found]))
    return 0


class Search:
    """One search."""

    def __init__(self, question: Question) -> None:
        """Look at nothing yet."""
        self._question = question
        self._env = {**question.env, **question.objects}
        self._scanner = Scanner(question.secrets)
        self._declared = Scanner(question.secrets, shapes=False)
        self._looked_up = 0

    def findings(self) -> Iterator[Finding]:
        """Yield what is found in refs, messages, names and files, each place once."""
        with contextlib.ExitStack() as stack:
            directory = None
            if gitleaks.installed() is not None:
                directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            leaks = _Leaks(directory)
            yield from self._own_findings(leaks)
            yield from leaks.findings()

    def _own_findings(self, leaks: _Leaks) -> Iterator[Finding]:
        for ref in self._question.refs:
            yield from self._in_name(ref.encode(errors="surrogateescape"), "the ref's name")
        tips = list(self._question.refs.values())
        names: set[bytes] = set()
        with self._cat_file() as (ask, answers):
            for line in self._new_objects(tips):
                name, _, raw = line.partition(b" ")
                path = raw.decode(errors="replace")
                ask.write(name + b"\n")
                ask.flush()
                one = _header(answers, path)
                match one.kind:
                    case "blob":
                        yield from self._in_blob(one, answers, leaks)
                    case "tree":
                        names |= set(_names(answers.read(one.size), len(one.name) // 2)) - names
                    case kind:
                        data = answers.read(one.size)
                        what = f"{kind} {one.name[:_SHOWN]}"
                        leaks.add(data.partition(b"\n\n")[2], f"{what}, message")
                        yield from self._in_headed(data, what)
                answers.read(1)
        for name in sorted(names):
            yield from self._in_name(name, "a file's name")

    def _new_objects(self, tips: Sequence[str]) -> Iterator[bytes]:
        argv = [*self._git, "rev-list", "--objects", *tips, "--not", "--all"]
        with process.start(argv, stdout=process.PIPE, env=self._env) as running:
            for line in cast("IO[bytes]", running.stdout):
                yield line.rstrip(b"\n")
        if running.returncode != 0:
            message = "git rev-list failed"
            raise OSError(message)

    @contextlib.contextmanager
    def _cat_file(self) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        argv = [*self._git, "cat-file", "--batch"]
        running = process.start(argv, env=self._env, stdin=process.PIPE, stdout=process.PIPE)
        with running:
            yield cast("IO[bytes]", running.stdin), cast("IO[bytes]", running.stdout)
            running.kill()

    @property
    def _git(self) -> list[str]:
        return [GIT, f"--git-dir={self._question.repository}"]

    def _in_blob(self, blob: _Object, answers: IO[bytes], leaks: _Leaks) -> Iterator[Finding]:
        found: dict[tuple[str, int | None], Finding] = {}
        for data, line in _windows(answers, blob.size):
            leaks.add(data, blob.path or blob.name[:_SHOWN])
            for finding in self._in_data(data, blob.path or blob.name[:_SHOWN]):
                at = None if finding.line is None else finding.line + line
                moved = Finding(finding.rule, finding.where, finding.evidence, at)
                found.setdefault((moved.rule, moved.line), moved)
        if found and self._looked_up < _LOOKED_UP:
            self._looked_up += 1
            commit = self._commit_with(blob.name)
            for one in found.values():
                where = f"{one.where} in commit {commit}" if commit else one.where
                yield Finding(one.rule, where, one.evidence, one.line)
        else:
            yield from found.values()

    def _commit_with(self, blob: str) -> str:
        """Return the first new commit that has a file; the newest may have it no longer."""
        argv = [*self._git, "log", "--format=%h", "--abbrev=8", "--reverse"]
        argv.append(f"--find-object={blob}")
        tips = list(self._question.refs.values())
        done = process.run([*argv, *tips, "--not", "--all"], timeout=TIMEOUT, env=self._env)
        return done.stdout.decode().partition("\n")[0]

    def _in_headed(self, data: bytes, what: str) -> Iterator[Finding]:
        """Search a commit or a tag: who made it, what it says, and what else is in it."""
        head, _, message = data.partition(b"\n\n")
        told, signed = _split_head(head)
        yield from self._in_data(told, f"{what}, who made it")
        yield from self._in_data(message, f"{what}, message")
        # A signature looks like a key to anybody who does not know what it is.
        yield from self._declared.scan(signed, f"{what}, its headers")

    def _in_name(self, name: bytes, what: str) -> Iterator[Finding]:
        for finding in self._scanner.scan(name, what):
            yield replace(finding, line=None)

    def _in_data(self, data: bytes, where: str) -> list[Finding]:
        found = self._scanner.scan(data, where)
        if not found or b"\0" in data:
            return found
        # Most is clean: only what is not is gone through once more for its lines.
        return self._scanner.scan_text_lines(data.decode(errors="surrogateescape"), where)


class _Leaks:
    """What is given to `gitleaks`, where it is installed: all that a push brings, as files."""

    def __init__(self, directory: Path | None) -> None:
        """Take a directory of its own; None is for hosts without it."""
        self._directory = directory
        self._places: dict[str, str] = {}

    def add(self, data: bytes, where: str) -> None:
        """Add what may be called by any name, by one that means nothing to `gitleaks`."""
        if self._directory is None:
            return
        suffix = re.search(r"\.[A-Za-z0-9]{1,8}$", where)
        name = f"{len(self._places)}{suffix[0] if suffix else ''}"
        self._places[name] = where
        (self._directory / name).write_bytes(data)

    def findings(self) -> Iterator[Finding]:
        """Yield what `gitleaks` finds."""
        if self._directory is not None and self._places:
            for finding in gitleaks.scan_directory(self._directory):
                name = Path(finding.where).name.partition("!")[0]
                yield replace(finding, where=self._places.get(name, "a file"))


def _header(answers: IO[bytes], path: str) -> _Object:
    words = answers.readline().split()
    if len(words) != 3 or words[1] == b"missing":  # noqa: PLR2004 - name, kind and size
        message = "git cat-file failed"
        raise OSError(message)
    return _Object(words[0].decode(), words[1].decode(), path, int(words[2]))


def _windows(answers: IO[bytes], size: int) -> Iterator[tuple[bytes, int]]:
    """Yield a file's parts, each with the number of lines before it."""
    data, lines = b"", 0
    while size:
        read = answers.read(min(size, WINDOW))
        if not read:
            message = "git cat-file broke off"
            raise OSError(message)
        size -= len(read)
        data += read
        yield data, lines
        kept = data[-_OVERLAP:]
        lines += data.count(b"\n", 0, len(data) - len(kept))
        data = kept


def _names(tree: bytes, digest: int) -> Iterator[bytes]:
    """Yield the names in a tree object."""
    position = 0
    while position < len(tree):
        end = tree.index(b"\0", position)
        yield tree[position:end].partition(b" ")[2]
        position = end + 1 + digest


def _split_head(head: bytes) -> tuple[bytes, bytes]:
    """Return a commit's headers that people fill in, and the others: objects, signatures."""
    told: list[bytes] = []
    others: list[bytes] = []
    into = told
    for line in head.split(b"\n"):
        if not line.startswith(b" "):
            into = others if line.startswith((*_NO_TEXT, *_SIGNATURES)) else told
        into.append(line)
    return b"\n".join(told), b"\n".join(others)


def question_to_json(question: Question) -> bytes:
    """Return what `main` reads."""
    return json.dumps(asdict(question)).encode()


def findings_from_json(answer: bytes) -> list[Finding]:
    """Return what `main` wrote."""
    values: list[Mapping[str, Any]] = json.loads(answer)
    return [Finding(**value) for value in values]
