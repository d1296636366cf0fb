"""Reads what Claude Code writes with `--output-format stream-json`.

Its return code does not tell how a run ended, nor does the `subtype` of its last event alone: a
model that refuses to answer is a "success" there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.agents.building import CallBuilder
from pytest_bottle.agents.building import TranscriptBuilder
from pytest_bottle.agents.jsonlines import count_of
from pytest_bottle.agents.jsonlines import mapping_of
from pytest_bottle.agents.jsonlines import mappings_of
from pytest_bottle.agents.jsonlines import name_of
from pytest_bottle.agents.jsonlines import read_json_lines
from pytest_bottle.agents.jsonlines import text_of
from pytest_bottle.agents.run import Denial
from pytest_bottle.agents.run import Exit
from pytest_bottle.agents.run import ReadRun
from pytest_bottle.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Mapping

    from pytest_bottle.agents.building import TurnBuilder
    from pytest_bottle.agents.run import Role

_SHELLS: Final = frozenset({"Bash", "PowerShell"})
_NO_MODEL: Final = "<synthetic>"
_STATUS: Final = re.compile(r"API Error: (\d{3})\b")
_SKILL_TOOL: Final = "Skill"
_LAST_ERROR: Final = 2000
"""Characters of standard error that stand in where the agent said nothing."""

Event = dict[str, Any]


def read_claude(stdout: bytes, stderr: bytes, returncode: int | None) -> ReadRun:
    """Return what a stream tells, be it cut short; never raises."""
    events, unreadable = read_json_lines(stdout)
    reading = _Reading()
    for event in events:
        reading.take(event)
    end = reading.exit(returncode)
    text = reading.text
    if end is Exit.CRASHED and not text:
        text = stderr.decode(errors="replace").strip()[-_LAST_ERROR:]
    return ReadRun(
        exit=end,
        text=text,
        transcript=reading.transcript.build(),
        usage=reading.usage,
        permission_denials=reading.denials,
        session=reading.session,
        api_error=(reading.api_status, text) if end is Exit.API_ERROR else None,
        model=reading.model,
        version=reading.version,
        unreadable=unreadable,
    )


class _Reading:
    """What is known after some events."""

    def __init__(self) -> None:
        self.transcript = TranscriptBuilder()
        self.session: str | None = None
        self.model: str | None = None
        self.version: str | None = None
        self._results: list[Event] = []
        """One for the task, and one for each thing that ended in the background after it."""
        self._usages: dict[str, Usage] = {}

    def take(self, event: Event) -> None:
        """Learn from one event; unknown ones are passed over."""
        self.session = self.session or name_of(event.get("session_id"))
        match event.get("type"):
            case "system":
                self._system(event)
            case "assistant":
                self._assistant(event)
            case "user":
                self._user(event)
            case "result":
                self._results.append(event)
                for entry in mappings_of(event.get("permission_denials")):
                    self._deny(entry.get("tool_use_id"), "")

    def _system(self, event: Event) -> None:
        match event.get("subtype"):
            case "init":
                self.model = name_of(event.get("model"))
                self.version = name_of(event.get("claude_code_version"))
            case "permission_denied":
                self._deny(event.get("tool_use_id"), text_of(event.get("message")))
            case "api_retry":
                status = count_of(event.get("error_status")) or text_of(event.get("error"))
                attempt = count_of(event.get("attempt"))
                self.transcript.turn("system").texts.append(
                    f"The model answered {status}; asked again, attempt {attempt}."
                )

    def _assistant(self, event: Event) -> None:
        message = mapping_of(event.get("message"))
        parent = name_of(event.get("parent_tool_use_id"))
        id_ = text_of(message.get("id"))
        # What the CLI says in the model's place, as of an answer that failed, is not the model's.
        role: Role = "system" if message.get("model") == _NO_MODEL else "assistant"
        turn = self.transcript.turn(role, id=id_, parent=parent)
        self._usages[f"{parent} {id_}"] = _usage(mapping_of(message.get("usage")), _SNAKE)
        for block in mappings_of(message.get("content")):
            match block.get("type"):
                case "text":
                    turn.texts.append(text_of(block.get("text")))
                case "thinking":
                    turn.thoughts.append(text_of(block.get("thinking")))
                case "tool_use" | "server_tool_use" | "mcp_tool_use":
                    self._call(turn, block)

    def _call(self, turn: TurnBuilder, block: Mapping[str, Any]) -> None:
        name = text_of(block.get("name"))
        inputs = mapping_of(block.get("input"))
        self.transcript.call(
            turn,
            CallBuilder(
                name=name,
                input=inputs,
                id=text_of(block.get("id")),
                command=name_of(inputs.get("command")) if name in _SHELLS else None,
                skill=name_of(inputs.get("skill")) if name == _SKILL_TOOL else None,
            ),
        )

    def _user(self, event: Event) -> None:
        parent = name_of(event.get("parent_tool_use_id"))
        content = mapping_of(event.get("message")).get("content")
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        said = []
        for block in mappings_of(content):
            if block.get("type") == "text":
                said.append(text_of(block.get("text")))
            elif block.get("type") == "tool_result":
                call = self.transcript.find_of(parent, text_of(block.get("tool_use_id")))
                if call is not None:
                    output = _plain_text(block.get("content"))
                    call.answer(output, error=block.get("is_error") is True)
        if said:
            self.transcript.turn("user", parent=parent).texts += said
        for meta in mappings_of(event.get("tool_result_meta")):
            if mapping_of(meta.get("permission_decision")).get("decision") == "reject":
                self._deny(meta.get("id"), "")

    def _deny(self, id_: object, reason: str) -> None:
        call = self.transcript.find(text_of(id_))
        if call is not None:
            call.deny(reason or call.output or "")

    @property
    def _result(self) -> Event:
        return self._results[-1] if self._results else {}

    def exit(self, returncode: int | None) -> Exit:
        """Return what ended the run."""
        result = self._result
        if returncode is None:
            return Exit.KILLED
        if not result:
            return Exit.CRASHED
        if result.get("subtype") == "error_max_turns":
            return Exit.MAX_TURNS
        if result.get("subtype") != "success":
            return Exit.CRASHED
        if result.get("is_error") is True:
            return Exit.API_ERROR
        return Exit.COMPLETED if returncode == 0 else Exit.CRASHED

    @property
    def api_status(self) -> int | None:
        """The HTTP status of the model's last answer where that was an error."""
        told = count_of(self._result.get("api_error_status"))
        if told:
            return told
        # Older versions have it in the text alone.
        found = _STATUS.match(text_of(self._result.get("result")))
        return int(found[1]) if found else None

    @property
    def text(self) -> str:
        """The last words; else why there are none."""
        said = text_of(self._result.get("result")) or self.transcript.last_words
        errors = self._result.get("errors")
        if not said and isinstance(errors, list):
            said = "\n".join(text_of(error) for error in errors)
        return said

    @property
    def usage(self) -> Usage:
        """The last count of each result; where there is none, what its messages began with."""
        counted = [
            usage
            for result in self._results
            for usage in mapping_of(result.get("model_usage_since_last_result")).values()
        ]
        if counted:
            return _total(_usage(mapping_of(usage), _CAMEL) for usage in counted)
        if self._results:
            return _total(
                _usage(mapping_of(result.get("usage")), _SNAKE) for result in self._results
            )
        return _total(self._usages.values())

    @property
    def denials(self) -> tuple[Denial, ...]:
        """The calls that were denied; where the CLI lists others besides, those too."""
        seen = [
            Denial(tool=call.name, input=call.input, reason=call.reason)
            for call in self.transcript.calls
            if call.denied
        ]
        unseen = [
            Denial(tool=text_of(entry.get("tool_name")), input=mapping_of(entry.get("tool_input")))
            for result in self._results
            for entry in mappings_of(result.get("permission_denials"))
            if self.transcript.find(text_of(entry.get("tool_use_id"))) is None
        ]
        return (*seen, *unseen)


_SNAKE: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)
_CAMEL: Final = (
    "inputTokens",
    "outputTokens",
    "cacheReadInputTokens",
    "cacheCreationInputTokens",
)


def _usage(counts: Mapping[str, Any], names: tuple[str, str, str, str]) -> Usage:
    read, written, cached, caching = (count_of(counts.get(name)) for name in names)
    return Usage(
        input_tokens=read,
        output_tokens=written,
        cache_read_tokens=cached,
        cache_write_tokens=caching,
    )


def _total(usages: Iterable[Usage]) -> Usage:
    return sum(usages, Usage())


def _plain_text(content: object) -> str:
    """Return a tool's answer as text; what is not text is named by its type."""
    if isinstance(content, str):
        return content
    parts = []
    for block in mappings_of(content):
        kind = text_of(block.get("type"))
        parts.append(text_of(block.get("text")) if kind == "text" else f"[{kind or 'unknown'}]")
    return "\n".join(parts)
