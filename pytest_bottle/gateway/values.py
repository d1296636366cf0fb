"""What passes through the model door: requests, answers, and the record of both."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any
from typing import Literal
from typing import Protocol

from pytest_bottle.usage import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from collections.abc import Mapping
    from collections.abc import Sequence

Api = Literal["messages", "count_tokens", "responses", "chat", "other"]

Mode = Literal["scripted", "replay", "record", "new-episodes", "live"]
MODES: tuple[Mode, ...] = ("scripted", "replay", "record", "new-episodes", "live")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request as it came in from the guest."""

    method: str
    path: str
    """With the query, as it was sent."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """What an agent asked a model."""

    number: int
    """Counted from 0 for each bottle."""
    api: Api
    body: Mapping[str, Any]
    """The request's JSON, as it was sent."""
    system: str
    """All system text, in its order, wherever the API has it."""
    messages: Sequence[Mapping[str, Any]]
    """The conversation, in the API's own form."""
    tools: Sequence[Mapping[str, Any]]
    model: str
    stream: bool
    turn: int
    """Which answer of the conversation is asked for: the number of those already in it."""

    @property
    def tool_names(self) -> list[str]:
        """The names of the tools on offer; one in a namespace has it before its own name."""
        names: list[str] = []
        for tool in self.tools:
            name = _tool_name(tool)
            members = tool.get("tools") if tool.get("type") == "namespace" else None
            if isinstance(members, list):
                names += [f"{name.rstrip('_')}__{_tool_name(member)}" for member in members]
            else:
                names.append(name)
        return names


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """What goes back to the guest."""

    status: int
    body: AsyncIterator[bytes]
    """Each part is sent as soon as it is there."""
    headers: Mapping[str, str] = field(default_factory=dict)
    origin: Literal["script", "cassette", "upstream", "door"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReply:
    """What a model's answer says, read from its JSON or its events."""

    text: str = ""
    tool_calls: Sequence[Mapping[str, Any]] = ()
    """Each with `id`, `name` and `input`."""
    stop_reason: str | None = None
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and what became of it."""

    request: ModelRequest
    status: int
    """499 where the guest hung up before there was one."""
    origin: str
    reply: ModelReply
    cost: float | None
    """US dollars; None where the model has no price."""
    started: float
    """Seconds since the epoch."""
    duration: float
    """Seconds until the last byte of the answer."""
    complete: bool = True
    """Whether the whole answer went out; False where the guest hung up, or the answer broke off."""
    infra: bool = False
    """Whether the way to a real API broke, for which neither the test nor the agent is to blame."""
    problem: str = ""
    """What was wrong with it, for the test's author; empty where nothing was."""


class Source(Protocol):
    """Where the answers to one bottle's requests come from."""

    async def answer(self, request: ModelRequest, http: HttpRequest) -> HttpAnswer:
        """Return the answer to a request.

        Raises:
            UnexpectedRequestError: it has no answer, and the test has to hear of it.
        """
        ...

    async def close(self) -> None:
        """Finish what is being written. Idempotent."""
        ...


def _tool_name(tool: object) -> str:
    """Return what a tool is called, wherever its API has that; else of which type it is."""
    if not isinstance(tool, dict):
        return ""
    inner = tool.get(str(tool.get("type")))
    name = tool.get("name") or (inner.get("name") if isinstance(inner, dict) else None)
    return str(name or tool.get("type") or "")
