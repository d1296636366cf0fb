"""Builds a transcript from events: a turn may come in parts, a tool's answer comes later."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.agents.run import ToolCall
from pytest_bottle.agents.run import Turn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.agents.run import Role


@dataclass(slots=True, kw_only=True)
class CallBuilder:
    """A tool call that may still be answered; the fields are those of `ToolCall`."""

    name: str
    input: Mapping[str, Any]
    id: str
    output: str | None = None
    error: bool = False
    denied: bool = False
    reason: str = ""
    """Why it was denied."""
    command: str | None = None
    skill: str | None = None
    """What it loads if it does not fail."""

    def answer(self, output: str, *, error: bool) -> None:
        """Set what the tool answered."""
        self.output = output
        self.error = error

    def deny(self, reason: str) -> None:
        """Say that it was denied; the first reason stays."""
        self.denied = self.error = True
        self.reason = self.reason or reason

    def build(self, parent: str | None) -> ToolCall:
        """Return what is known until now."""
        loaded = self.output is not None and not self.error
        return ToolCall(
            name=self.name,
            input=self.input,
            output=self.output,
            error=self.error,
            denied=self.denied,
            id=self.id,
            command=self.command,
            skill=self.skill if loaded else None,
            parent=parent,
        )


@dataclass(slots=True, kw_only=True)
class TurnBuilder:
    """A turn that may still grow."""

    role: Role
    id: str = ""
    """What its parts have in common; empty where nothing will be added."""
    parent: str | None = None
    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[CallBuilder] = field(default_factory=list)

    def build(self) -> Turn:
        """Return what is known until now."""
        return Turn(
            role=self.role,
            text="\n".join(text for text in self.texts if text),
            tool_calls=tuple(call.build(self.parent) for call in self.calls),
            thinking="\n".join(thought for thought in self.thoughts if thought),
            parent=self.parent,
        )


class TranscriptBuilder:
    """Turns in their order, and the calls that wait for their answers."""

    def __init__(self) -> None:
        """Start empty."""
        self.turns: list[TurnBuilder] = []
        self._growing: dict[str | None, TurnBuilder] = {}
        self._calls: dict[str, CallBuilder] = {}
        self._calls_of: dict[tuple[str | None, str], CallBuilder] = {}

    def turn(self, role: Role, *, id: str = "", parent: str | None = None) -> TurnBuilder:  # noqa: A002
        """Return the speaker's last turn if this is another part of it, else a new one."""
        last = self._growing.get(parent)
        if last is not None and id and (last.id, last.role) == (id, role):
            return last
        turn = TurnBuilder(role=role, id=id, parent=parent)
        self.turns.append(turn)
        self._growing[parent] = turn
        return turn

    def call(self, turn: TurnBuilder, call: CallBuilder) -> CallBuilder:
        """Add a call to a turn."""
        turn.calls.append(call)
        if call.id:
            self._calls[call.id] = self._calls_of[turn.parent, call.id] = call
        return call

    def find(self, id: str) -> CallBuilder | None:  # noqa: A002
        """Return the last call with this id, whoever made it; None where there is none."""
        return self._calls.get(id)

    def find_of(self, parent: str | None, id: str) -> CallBuilder | None:  # noqa: A002
        """Return one speaker's last call with this id; None where there is none."""
        return self._calls_of.get((parent, id))

    @property
    def calls(self) -> list[CallBuilder]:
        """All calls in their order."""
        return [call for turn in self.turns for call in turn.calls]

    @property
    def last_words(self) -> str:
        """What the agent itself, none of its subagents, said last."""
        for turn in reversed(self.turns):
            text = turn.build().text
            if turn.role == "assistant" and turn.parent is None and text:
                return text
        return ""

    def build(self) -> tuple[Turn, ...]:
        """Return the turns in which something was said or done."""
        built = (turn.build() for turn in self.turns)
        return tuple(turn for turn in built if turn.text or turn.thinking or turn.tool_calls)
