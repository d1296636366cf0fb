"""Decides on pushes: what they may change, what must not be in them, and what an upstream says."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Final
from typing import TypeAlias

from pytest_bottle.errors import DoorError
from pytest_bottle.gateway.git.environment import plain_environment
from pytest_bottle.gateway.git.packets import one_line
from pytest_bottle.gateway.git.programs import Program
from pytest_bottle.gateway.git.remote import UnreachableError
from pytest_bottle.gateway.git.search import TIMEOUT
from pytest_bottle.gateway.git.search import Question
from pytest_bottle.gateway.git.search import findings_from_json
from pytest_bottle.gateway.git.search import question_to_json

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from collections.abc import Callable
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.gateway.dlp.finding import Finding
    from pytest_bottle.gateway.git.remote import Remote
    from pytest_bottle.gateway.git.remote import Upstream

    Say: TypeAlias = Callable[[str], Awaitable[None]]

NO_OBJECT: Final = re.compile(r"0+")
"""What git calls the object of a ref that is not there."""

MAX_COMMITS: Final = 1000
"""Commits of one push that are in its record."""

MAX_REFS: Final = 500
"""Refs of one push."""

_SHOWN_FINDINGS: Final = 20
_OBJECTS: Final = ("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")

_PATHS: Final = [str(Path(path).absolute()) for path in sys.path]
"""Where the search finds this package; it may be where only this process was told to look."""

_SEARCH: Final = (
    "import sys; sys.path[:] = sys.argv[1:]; "
    "from pytest_bottle.gateway.git.search import main; sys.exit(main())"
)


@dataclass(frozen=True, slots=True)
class Command:
    """A ref that is to be changed."""

    ref: str
    old: str
    """The object that the pusher takes it to name; all zeros where it is new."""
    new: str
    """All zeros where it is to be deleted."""

    @property
    def creates(self) -> bool:
        """Whether the ref is new."""
        return NO_OBJECT.fullmatch(self.old) is not None

    @property
    def deletes(self) -> bool:
        """Whether the ref is to go."""
        return NO_OBJECT.fullmatch(self.new) is not None


@dataclass(slots=True)
class Verdict:
    """What becomes of a push: all of it, or nothing."""

    commands: Sequence[Command] = ()
    rules: dict[str, str] = field(default_factory=dict)
    """By ref, which kind of rule it broke."""
    reasons: dict[str, str] = field(default_factory=dict)
    """By ref, why it is rejected; all have one, or none has."""
    findings: list[Finding] = field(default_factory=list)
    commits: dict[str, list[list[str]]] = field(default_factory=dict)
    """By ref, its new commits, newest first: name and subject."""
    upstream_took_it: bool = False

    def reject(self, command: Command, rule: str, reason: str) -> None:
        """Reject a ref."""
        self.rules[command.ref], self.reasons[command.ref] = rule, reason

    def reject_all(self, rule: str, reason: str) -> None:
        """Reject all refs that have not been."""
        for command in self.commands:
            if command.ref not in self.reasons:
                self.reject(command, rule, reason)


class Judge:
    """Decides on the pushes of one bottle."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        """Take the values, by name, that must not leave."""
        self._secrets = dict(secrets)
        self._waiting: Program | None = None
        self._starting = asyncio.Lock()

    async def expect(self) -> None:
        """Have a search get ready for a push that is being announced: it takes a while."""
        async with self._starting:
            if self._waiting is None:
                self._waiting = await _start_search()

    def close(self) -> None:
        """Let go of a search that nobody came for. Idempotent."""
        if self._waiting is not None:
            self._waiting.kill()
            self._waiting = None

    async def judge(
        self, remote: Remote, commands: Sequence[Command], objects: dict[str, str], say: Say
    ) -> Verdict:
        """Return what becomes of a push; where nothing is against it, the upstream has it.

        Args:
            remote: Where it goes.
            commands: What it changes.
            objects: Variables that say where git finds what it brings.
            say: Tells the pusher.
        """
        verdict = Verdict(commands)
        try:
            await self._judge(remote, verdict, objects, say)
        except DoorError as error:
            verdict.reject_all("gate", f"the gate {error}")
        return verdict

    async def _judge(
        self, remote: Remote, verdict: Verdict, objects: dict[str, str], say: Say
    ) -> None:
        if len(verdict.commands) > MAX_REFS:
            verdict.reject_all("gate", f"no more than {MAX_REFS} refs are taken at once")
            return
        env = {**plain_environment(), **objects}
        for command in verdict.commands:
            if not command.deletes:
                verdict.commits[command.ref] = await _commits(remote, command, env)
        await self._apply_rules(remote, verdict, env)
        if not verdict.reasons:
            await self._search(remote, verdict, objects, say)
        if not verdict.reasons and remote.upstream is not None:
            await self._pass_on(remote, remote.upstream, verdict, objects, say)
        if verdict.reasons:
            verdict.reject_all("others", "others of this push were rejected")

    async def _pass_on(
        self,
        remote: Remote,
        upstream: Upstream,
        verdict: Verdict,
        objects: dict[str, str],
        say: Say,
    ) -> None:
        """Push to the upstream, which is only now reached, and may have moved meanwhile."""
        updates = {command.ref: command.new for command in verdict.commands}
        try:
            outcome = await upstream.push(remote.mirror, updates, objects)
        except UnreachableError as error:
            await say(f"gate: the upstream cannot be reached: {error}")
            verdict.reject_all("upstream", "the upstream cannot be reached")
            return
        if outcome.words:
            await say(outcome.words)
        verdict.upstream_took_it = not outcome.refused
        for command in verdict.commands:
            if command.ref in outcome.refused:
                verdict.reject(command, "upstream", outcome.refused[command.ref])

    async def _apply_rules(self, remote: Remote, verdict: Verdict, env: dict[str, str]) -> None:
        present = await remote.mirror.refs()
        for command in verdict.commands:
            now = present.get(command.ref)
            if command.deletes:
                verdict.reject(command, "delete", "nothing is deleted through the gate")
            elif not any(matches(pattern, command.ref) for pattern in remote.allow_push):
                allowed = ", ".join(remote.allow_push) or "nothing"
                verdict.reject(command, "ref", f"may not be pushed to; allow_push is {allowed}")
            elif now != (None if command.creates else command.old):
                verdict.reject(command, "force", "non-fast-forward: it has moved, fetch first")
            elif now is not None and not command.ref.startswith("refs/heads/"):
                verdict.reject(command, "force", "it is there already, and no branch")
            elif now is not None and not await _descends(remote, now, command.new, env):
                verdict.reject(command, "force", "non-fast-forward: nothing is overwritten")
        if verdict.reasons:
            verdict.reject_all("others", "others of this push were rejected")

    async def _search(
        self, remote: Remote, verdict: Verdict, objects: dict[str, str], say: Say
    ) -> None:
        question = Question(
            repository=str(remote.mirror.path),
            objects=objects,
            env=plain_environment(),
            refs={command.ref: command.new for command in verdict.commands},
            secrets=self._secrets,
        )
        program, self._waiting = self._waiting, None
        try:
            async with asyncio.timeout(TIMEOUT):
                program = program or await _start_search()
                done = await program.finish(question_to_json(question))
        except TimeoutError:
            verdict.reject_all("gate", f"it could not be searched for secrets in {TIMEOUT:g} s")
            return
        finally:
            if program is not None:
                program.kill()
        if done.returncode != 0:
            # Its last line has no more than the kind of the error: what it read is a guest's.
            last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            kind = last.partition(":")[0][:100]
            verdict.reject_all("gate", f"it could not be searched for secrets ({kind})")
            return
        verdict.findings = findings_from_json(done.stdout)
        for finding in verdict.findings[:_SHOWN_FINDINGS]:
            await say(f"{place(finding)}: {finding.rule}: {finding.evidence}")
        if len(verdict.findings) > _SHOWN_FINDINGS:
            await say(f"and {len(verdict.findings) - _SHOWN_FINDINGS} more")
        if verdict.findings:
            verdict.reject_all("secret", f"secret in {place(verdict.findings[0])}")


def push_records(
    remote: Remote, verdict: Verdict, refused: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the records of a push, one for each ref.

    Args:
        remote: Where it went.
        verdict: What the gate made of it.
        refused: By ref, why git refused it after all.
    """
    records = []
    hide = {finding.where for finding in verdict.findings}
    for command in verdict.commands:
        reason = verdict.reasons.get(command.ref) or refused.get(command.ref, "")
        rejected = bool(reason) and not verdict.upstream_took_it
        rule = verdict.rules.get(command.ref) or ("git" if rejected else "")
        commits = [
            [sha, "[redacted]" if any(sha[:12] in where for where in hide) else subject]
            for sha, subject in verdict.commits.get(command.ref, [])
        ]
        records.append(
            {
                "kind": "rejected" if rejected else "pushed",
                "time": time.time(),
                "remote": remote.plan.name,
                "ref": command.ref if "the ref's name" not in hide else "[redacted]",
                "old": command.old,
                "new": command.new,
                "commits": commits,
                "rule": rule,
                "reason": reason if rejected else "",
                "findings": [
                    {
                        "rule": finding.rule,
                        "where": finding.where,
                        "line": finding.line,
                        "evidence": finding.evidence,
                    }
                    for finding in (verdict.findings if rejected else ())
                ],
            }
        )
    return records


def matches(pattern: str, ref: str) -> bool:
    """Tell whether a full ref's name is what a pattern stands for, with its `*`."""
    parts = map(re.escape, pattern.split("*"))
    return re.fullmatch(".*".join(parts), ref, re.DOTALL) is not None


def place(finding: Finding) -> str:
    """Return where a finding is, as a person looks for it: `app.py:3`."""
    name, separator, commit = finding.where.partition(" in commit ")
    line = "" if finding.line is None else f":{finding.line}"
    return one_line(f"{name}{line}{separator}{commit}")


def commands_of(question: bytes) -> tuple[dict[str, str], list[Command]]:
    """Return what a push's hook says: where its objects are, and what it changes."""
    lines = question.decode(errors="surrogateescape").split("\n")
    objects = dict(zip(_OBJECTS, lines[:2], strict=True))
    commands = []
    for line in lines[2:]:
        old, new, ref = line.split(" ", 2)
        commands.append(Command(ref=ref, old=old, new=new))
    return objects, commands


async def _start_search() -> Program:
    argv = [sys.executable, "-P", "-W", "ignore", "-c", _SEARCH, *_PATHS]
    try:
        return await Program.start(argv, env=plain_environment())
    except OSError as error:
        raise DoorError(f"cannot search for secrets: {error}") from error


async def _descends(remote: Remote, old: str, new: str, env: dict[str, str]) -> bool:
    done = await remote.mirror.git("merge-base", "--is-ancestor", old, new, env=env)
    return done.returncode == 0


async def _commits(remote: Remote, command: Command, env: dict[str, str]) -> list[list[str]]:
    done = await remote.mirror.git(
        *("log", f"--max-count={MAX_COMMITS}", "--format=%H %s", command.new, "--not", "--all"),
        env=env,
    )
    lines = done.stdout.decode(errors="replace").splitlines()
    return [line.split(" ", 1) for line in lines]
