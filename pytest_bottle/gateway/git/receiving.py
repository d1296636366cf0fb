"""Holds one push: git receives it into a quarantine, and waits for what the gate says of it.

It is git's own quarantine, of the mirror: what a push brings lies in a directory of its own, which
git itself removes when the `pre-receive` hook refuses it, and moves into the repository in one step
when it does not. The hook asks the gate over descriptors that it inherited.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.gateway.git.backend import begin_response
from pytest_bottle.gateway.git.backend import feed_backend
from pytest_bottle.gateway.git.backend import start_backend
from pytest_bottle.gateway.git.packets import PushReport
from pytest_bottle.gateway.git.packets import one_line
from pytest_bottle.gateway.git.packets import split
from pytest_bottle.gateway.git.programs import READ
from pytest_bottle.gateway.git.programs import Program
from pytest_bottle.gateway.git.programs import open_reader
from pytest_bottle.gateway.git.programs import open_writer
from pytest_bottle.gateway.git.pushes import Command
from pytest_bottle.gateway.git.pushes import Verdict
from pytest_bottle.gateway.git.pushes import commands_of
from pytest_bottle.gateway.git.pushes import push_records
from pytest_bottle.gateway.git.repository import ANSWER_VARIABLE
from pytest_bottle.gateway.git.repository import ASK_VARIABLE
from pytest_bottle.gateway.git.repository import END_OF_QUESTION

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from pytest_bottle.gateway.git.pushes import Judge
    from pytest_bottle.gateway.git.remote import Remote
    from pytest_bottle.gateway.records import RecordLog

PUSH_TIMEOUT: Final = 3600.0
"""Seconds for one push, with all that a guest sends, and an upstream takes."""

_MAX_QUESTION: Final = 2**22
"""Bytes of what a push changes: some ten thousand refs."""

_logger = logging.getLogger(__name__)


class Receiving:
    """One push."""

    def __init__(
        self,
        request: web.BaseRequest,
        remote: Remote,
        judge: Judge,
        records: RecordLog,
        scrub: Callable[[str], str],
    ) -> None:
        """Receive nothing yet."""
        self._request = request
        self._remote = remote
        self._judge = judge
        self._records = records
        self._scrub = scrub
        self._program: Program | None = None
        self._verdict: Verdict | None = None
        self._judging = False
        self._gone = False
        self._head = bytearray()
        self.response: web.StreamResponse | None = None
        """The answer, sent to its end; None where it was not even begun."""

    def hang_up(self) -> None:
        """The guest has gone: what was not decided on yet is given up, the rest goes to its end."""
        self._gone = True
        if not self._judging and self._program is not None:
            self._program.terminate()

    async def run(self) -> None:
        """Receive it, decide, answer, and record it before the end of the answer."""
        asked, ask = os.pipe()
        answered, answer = os.pipe()
        more = {ASK_VARIABLE: str(ask), ANSWER_VARIABLE: str(answered)}
        try:
            self._program = program = await start_backend(
                self._request,
                self._remote.mirror,
                "git-receive-pack",
                more=more,
                pass_fds=(ask, answered),
            )
        except BaseException:
            os.close(asked)
            os.close(answer)
            raise
        finally:
            os.close(ask)
            os.close(answered)
        if self._gone:
            program.terminate()
        question = await open_reader(os.fdopen(asked, "rb", buffering=0))
        reply = await open_writer(os.fdopen(answer, "wb", buffering=0))
        judging = asyncio.create_task(self._judge_it(question, reply))
        feeding = asyncio.create_task(self._feed(program))
        try:
            async with asyncio.timeout(PUSH_TIMEOUT):
                await self._answer(program)
        finally:
            for task in (judging, feeding):
                task.cancel()
            await asyncio.gather(judging, feeding, return_exceptions=True)
            await program.give_up()
            reply.close()
            if self._remote.changing.locked() and self._judging:
                self._remote.changing.release()

    async def _feed(self, program: Program) -> None:
        try:
            await feed_backend(self._request, program, self._head)
        except Exception:
            # The rest of a push must not be taken for all of it.
            if not self._judging:
                program.terminate()
            raise

    async def _judge_it(self, question: asyncio.StreamReader, reply: asyncio.StreamWriter) -> None:
        """Answer the hook, whatever goes wrong: it waits."""
        said = b"no\n"
        try:
            asked = await _read_question(question)
            if asked is not None and await self._may_pass(asked, reply):
                said = b"yes\n"
        except Exception:
            _logger.exception("a push to %s", self._remote.plan.name)
            said = b" gate: it failed, and lets nothing pass\nno\n"
        reply.write(said)
        with suppress(ConnectionError):
            await reply.drain()

    async def _may_pass(self, asked: bytes, reply: asyncio.StreamWriter) -> bool:
        objects, commands = commands_of(asked)
        # Until git has changed the refs, too: released when it has ended.
        await self._remote.changing.acquire()
        self._judging = True

        async def say(text: str) -> None:
            # A line that begins with a space is one to show.
            for line in self._scrub(text).splitlines():
                reply.write(f" {one_line(line)}\n".encode(errors="replace"))
            await reply.drain()

        verdict = await self._judge.judge(self._remote, commands, objects, say)
        self._verdict = verdict
        if verdict.reasons:
            self._record(verdict, {})
        return not verdict.reasons

    async def _answer(self, program: Program) -> None:
        report = PushReport()
        if not self._gone:
            with suppress(ConnectionError):
                self.response = await begin_response(self._request, program)
        while part := await program.stdout.read(READ):
            await self._send(report.feed(part))
        await program.end()
        refused = report.refs
        if (verdict := self._verdict) is None:
            verdict = self._unjudged(report)
        if not self._verdict or not verdict.reasons:
            self._record(verdict, {ref: why for ref, why in refused.items() if why})
        reasons = {ref: self._scrub(reason) for ref, reason in verdict.reasons.items()}
        await self._send(report.finish(reasons))
        if self.response is not None and not self._gone:
            with suppress(ConnectionError):
                await self.response.write_eof()

    def _unjudged(self, report: PushReport) -> Verdict:
        """Return the verdict on a push that git itself did not take."""
        verdict = Verdict(_commands(bytes(self._head)))
        if report.unpacked not in {"", "ok"}:
            verdict.reject_all("git", f"git does not take it: {report.unpacked}")
        return verdict

    def _record(self, verdict: Verdict, refused: dict[str, str]) -> None:
        for record in push_records(self._remote, verdict, refused):
            self._records.add(record)

    async def _send(self, data: bytes) -> None:
        if self.response is None or self._gone or not data:
            return
        try:
            await self.response.write(data)
        except ConnectionError:
            self._gone = True


async def _read_question(question: asyncio.StreamReader) -> bytes | None:
    """Return what a hook asks, without its end; None where it went away, or asks too much."""
    asked = bytearray()
    end = f"\n{END_OF_QUESTION}\n".encode()
    while not asked.endswith(end):
        part = await question.read(READ)
        asked += part
        if not part or len(asked) > _MAX_QUESTION:
            return None
    return bytes(asked[: -len(end)])


def _commands(head: bytes) -> list[Command]:
    """Return what the first lines of a push say that it changes."""
    commands = []
    for line in split(head):
        words = line.partition(b"\0")[0].decode(errors="surrogateescape").strip("\n").split(" ", 2)
        if len(words) == 3 and len(words[0]) == len(words[1]):  # noqa: PLR2004 - old, new, ref
            commands.append(Command(ref=words[2], old=words[0], new=words[1]))
        elif not line:
            break
    return commands
