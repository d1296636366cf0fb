"""Reads what Codex writes with `exec --json`, and what it records of a session in its home.

The stream leaves out calls that were refused, patches that did not apply, and commands that its
own sandbox stopped; the record has every call as the model made it. Where there is a record, it
tells the turns; how the run ended is in the stream.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.agents.building import CallBuilder
from pytest_bottle.agents.building import TranscriptBuilder
from pytest_bottle.agents.codex_record import SHELL_TOOL
from pytest_bottle.agents.codex_record import CodexRecord
from pytest_bottle.agents.codex_record import codex_usage
from pytest_bottle.agents.codex_record import skill_in
from pytest_bottle.agents.jsonlines import mapping_of
from pytest_bottle.agents.jsonlines import mappings_of
from pytest_bottle.agents.jsonlines import name_of
from pytest_bottle.agents.jsonlines import read_json_lines
from pytest_bottle.agents.jsonlines import read_json_object
from pytest_bottle.agents.jsonlines import text_of
from pytest_bottle.agents.run import Denial
from pytest_bottle.agents.run import Exit
from pytest_bottle.agents.run import ReadRun
from pytest_bottle.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.agents.building import TurnBuilder

_STATUS: Final = re.compile(r"\bstatus (\d{3})\b")
_LAST_ERROR: Final = 2000
"""Characters of standard error that stand in where the agent said nothing."""
_WRAPPED: Final = 3
"""Words of `bash -lc COMMAND`."""

Event = dict[str, Any]


def read_codex(
    stdout: bytes, stderr: bytes, returncode: int | None, record: bytes = b""
) -> ReadRun:
    """Return what a stream and a record tell, be they cut short; never raises."""
    events, unreadable = read_json_lines(stdout)
    stream = _Stream()
    for event in events:
        stream.take(event)
    recorded = CodexRecord(record)
    transcript = stream.transcript if recorded.empty else recorded.transcript
    end = stream.exit(returncode)
    text = transcript.last_words
    if end is Exit.API_ERROR:
        text = stream.failure
    elif end is Exit.CRASHED and not text:
        text = stderr.decode(errors="replace").strip()[-_LAST_ERROR:]
    status = _STATUS.search(stream.failure)
    return ReadRun(
        exit=end,
        text=text,
        transcript=transcript.build(),
        usage=recorded.usage if recorded.usage.total_tokens else stream.usage,
        permission_denials=tuple(
            Denial(tool=call.name, input=call.input, reason=call.reason)
            for call in transcript.calls
            if call.denied
        ),
        session=stream.session,
        api_error=(int(status[1]) if status else None, text) if end is Exit.API_ERROR else None,
        model=recorded.model,
        version=recorded.version,
        unreadable=unreadable + recorded.unreadable,
    )


class _Stream:
    """What is known after some events."""

    def __init__(self) -> None:
        self.transcript = TranscriptBuilder()
        self.session: str | None = None
        self.usage = Usage()
        """Of the whole thread: what came before a resumption is in it."""
        self.failure = ""
        self._completed = False
        self._turn: TurnBuilder | None = None

    def take(self, event: Event) -> None:
        """Learn from one event; unknown ones are passed over."""
        match event.get("type"):
            case "thread.started":
                self.session = name_of(event.get("thread_id"))
            case "turn.completed":
                self._completed = True
                self.usage = codex_usage(mapping_of(event.get("usage")))
            case "turn.failed":
                error = mapping_of(event.get("error"))
                self.failure = _reason(text_of(error.get("message"))) or "no reason was given"
            case "error":
                self._notice(event)
            case "item.started" | "item.updated" | "item.completed":
                self._item(mapping_of(event.get("item")), is_done=event["type"] == "item.completed")

    def exit(self, returncode: int | None) -> Exit:
        """Return what ended the run."""
        if returncode is None:
            return Exit.KILLED
        if self.failure:
            return Exit.API_ERROR
        return Exit.COMPLETED if self._completed and returncode == 0 else Exit.CRASHED

    def _item(self, item: Mapping[str, Any], *, is_done: bool) -> None:
        text = text_of(item.get("text"))
        match item.get("type"):
            case "agent_message" if is_done:
                self._speaking().texts.append(text)
            case "reasoning" if is_done:
                self._speaking().thoughts.append(text)
            case "error":
                self._notice(item)
            case "command_execution":
                self._command(item, is_done=is_done)
            case "file_change":
                changes = {"changes": item.get("changes")}
                self._call(item, "apply_patch", changes, is_done=is_done)
            case "mcp_tool_call":
                name = f"mcp__{text_of(item.get('server'))}__{text_of(item.get('tool'))}"
                inputs = mapping_of(item.get("arguments"))
                self._call(item, name, inputs, _mcp_answer(item), is_done=is_done)
            case "web_search":
                query = {"query": text_of(item.get("query"))}
                self._call(item, "web_search", query, is_done=is_done)

    def _notice(self, error: Mapping[str, Any]) -> None:
        self.transcript.turn("system").texts.append(_reason(text_of(error.get("message"))))
        self._turn = None

    def _speaking(self) -> TurnBuilder:
        """Return the turn that the agent's next words belong to."""
        if self._turn is None or self._turn.calls:
            self._turn = self.transcript.turn("assistant")
        return self._turn

    def _command(self, item: Mapping[str, Any], *, is_done: bool) -> None:
        command = _unwrapped(text_of(item.get("command")))
        output = text_of(item.get("aggregated_output"))
        call = self._call(item, SHELL_TOOL, {"cmd": command}, output, is_done=is_done)
        call.command = command
        call.skill = skill_in(command)
        if is_done and item.get("exit_code") != 0:
            call.error = True

    def _call(
        self,
        item: Mapping[str, Any],
        name: str,
        inputs: Mapping[str, Any],
        output: str = "",
        *,
        is_done: bool,
    ) -> CallBuilder:
        id_ = text_of(item.get("id"))
        call = self.transcript.find(id_)
        if call is None:
            if self._turn is None:
                self._turn = self.transcript.turn("assistant")
            call = CallBuilder(name=name, input=inputs, id=id_)
            self.transcript.call(self._turn, call)
        if is_done:
            call.answer(output, error=item.get("status") == "failed")
            if item.get("status") == "declined":
                call.deny(output)
        return call


def _reason(message: str) -> str:
    """Return what went wrong: at times Codex passes on the model's answer as it came."""
    error = mapping_of(mapping_of(read_json_object(message)).get("error"))
    return text_of(error.get("message")) or message


def _unwrapped(command: str) -> str:
    """Return what a shell was asked to run: Codex shows the shell's own command line."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    is_shell = len(words) == _WRAPPED and words[1] in {"-c", "-lc"} and words[0].endswith("sh")
    return words[2] if is_shell else command


def _mcp_answer(item: Mapping[str, Any]) -> str:
    error = text_of(mapping_of(item.get("error")).get("message"))
    content = mappings_of(mapping_of(item.get("result")).get("content"))
    return error or "\n".join(text_of(block.get("text")) for block in content)
