"""Reads the file in which Codex records a session: the model's answers and the tools', in full."""

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
from pytest_bottle.agents.jsonlines import read_json_object
from pytest_bottle.agents.jsonlines import text_of
from pytest_bottle.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.agents.building import TurnBuilder

SHELL_TOOL: Final = "exec_command"
"""What Codex calls its shell."""

_EXIT_CODE: Final = re.compile(r"^(?:Process exited with code|Exit code:) (-?\d+)$", re.MULTILINE)
_FAILED: Final = re.compile(r"[\w.]+ (?:verification )?failed\b")
_REJECTED: Final = re.compile(r'Rejected\(\\?"(.*)\\?"\)')
_SKILL: Final = re.compile(r"\bskills/(?:[\w.-]+/)*?([\w.-]+)/SKILL\.md\b")
_HEAD: Final = 500
"""Characters before a tool's own output in which Codex says how it went."""


class CodexRecord:
    """The last task of a session; earlier ones are in the same file."""

    def __init__(self, data: bytes) -> None:
        """Read the file; whatever it holds, this does not raise."""
        lines, self.unreadable = read_json_lines(data)
        self.transcript = TranscriptBuilder()
        self.usage = Usage()
        self.model: str | None = None
        self.version: str | None = None
        self._turn: TurnBuilder | None = None
        for line in lines:
            self._take(text_of(line.get("type")), mapping_of(line.get("payload")))

    @property
    def empty(self) -> bool:
        """Whether it tells of no answer."""
        return not self.transcript.turns

    def _take(self, kind: str, payload: Mapping[str, Any]) -> None:
        match kind:
            case "session_meta":
                self.version = name_of(payload.get("cli_version"))
            case "turn_context":
                self.model = name_of(payload.get("model"))
            case "event_msg" if payload.get("type") == "task_started":
                self.transcript = TranscriptBuilder()
                self.usage = Usage()
                self._turn = None
            case "token_usage_record":
                self.usage += codex_usage(mapping_of(payload.get("usage")))
                self._turn = None
            case "response_item":
                self._item(payload)

    def _item(self, item: Mapping[str, Any]) -> None:
        match item.get("type"):
            case "message" if item.get("role") == "assistant":
                self._answer().texts.append(_text_in(item.get("content")))
            case "reasoning":
                self._answer().thoughts.append(_text_in(item.get("summary")))
            case "function_call":
                self._call(item, _arguments(item.get("arguments")))
            case "custom_tool_call":
                self._call(item, {"input": text_of(item.get("input"))})
            case "function_call_output" | "custom_tool_call_output":
                self._output(item)

    def _answer(self) -> TurnBuilder:
        """Return the turn that the model's next words belong to."""
        if self._turn is None:
            self._turn = self.transcript.turn("assistant")
        return self._turn

    def _call(self, item: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
        name = text_of(item.get("name"))
        command = name_of(inputs.get("cmd")) if name == SHELL_TOOL else None
        call = CallBuilder(
            name=name,
            input=inputs,
            id=text_of(item.get("call_id")),
            command=command,
            skill=skill_in(command or ""),
        )
        self.transcript.call(self._answer(), call)

    def _output(self, item: Mapping[str, Any]) -> None:
        self._turn = None
        call = self.transcript.find(text_of(item.get("call_id")))
        if call is None:
            return
        answer = _text_in(item.get("output"))
        head, _, output = answer.partition("\nOutput:\n")
        code = _EXIT_CODE.search(head[:_HEAD])
        if code is None:
            call.answer(answer, error=bool(_FAILED.match(answer)))
        else:
            call.answer(output, error=code[1] != "0")
        if code is None and (rejected := _REJECTED.search(answer)):
            call.deny(rejected[1].rstrip("\\"))


def codex_usage(counts: Mapping[str, Any]) -> Usage:
    """Return tokens by kind; OpenAI counts those from and to a cache among the input."""
    cached = count_of(counts.get("cached_input_tokens"))
    caching = count_of(counts.get("cache_write_input_tokens"))
    return Usage(
        input_tokens=max(0, count_of(counts.get("input_tokens")) - cached - caching),
        output_tokens=count_of(counts.get("output_tokens")),
        cache_read_tokens=cached,
        cache_write_tokens=caching,
    )


def skill_in(command: str) -> str | None:
    """Return the skill whose body a command reads: Codex has no tool of its own for it."""
    found = _SKILL.search(command)
    return found[1] if found else None


def _arguments(text: object) -> Mapping[str, Any]:
    """Return a call's input, which is JSON in a string."""
    return read_json_object(text_of(text)) or {}


def _text_in(content: object) -> str:
    """Return the text of a content, which may be in parts."""
    if isinstance(content, str):
        return content
    return "\n".join(text_of(part.get("text")) for part in mappings_of(content))
