"""What all model APIs have in common: hostile bodies, the conversation, ids, the answers' count."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any
from typing import Literal
from typing import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Iterator
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.gateway.turns import Turn
    from pytest_bottle.gateway.values import ModelReply
    from pytest_bottle.gateway.values import ModelRequest

MAX_DEPTH = 100
"""Lists and objects in one another: far more than any agent sends, far less than breaks us."""

_ID = re.compile(r"[a-z]+_bottle_(\d{1,9}_(\d{1,9}))(?:_\d{1,9})?")

Role = Literal["system", "user", "result", "assistant"]


class BadRequestError(ValueError):
    """A request's body cannot be read; says why, for whoever sent it."""


class Reader(Protocol):
    """Reads one answer as it passes by. Never raises: what it cannot read, it leaves out."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body, wherever they are cut."""
        ...

    def finish(self) -> ModelReply:
        """Return what has been read, even of an answer that broke off."""
        ...


class ApiProtocol(Protocol):
    """One API. The modules of this package are such objects."""

    def read_request(self, body: Mapping[str, Any], number: int) -> ModelRequest:
        """Return what is asked. Raises BadRequestError."""
        ...

    def read_parts(self, body: Mapping[str, Any]) -> list[Part]:
        """Return the conversation so far. Raises BadRequestError."""
        ...

    def render(self, turn: Turn, request: ModelRequest) -> dict[str, Any]:
        """Return the answer as one JSON object."""
        ...

    def render_events(self, turn: Turn, request: ModelRequest) -> list[bytes]:
        """Return the answer as server-sent events."""
        ...

    def render_error(self, status: int, kind: str, message: str) -> dict[str, Any]:
        """Return the body of an error; an empty `kind` means the usual one of the status."""
        ...

    def ReplyReader(self, *, stream: bool) -> Reader:  # noqa: N802 - a class of the module
        """Return a reader of one answer; `stream` says whether events were asked for."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a conversation, whatever the API calls it."""

    role: Role
    text: str
    call: str = ""
    """The id of the tool call that it makes or answers."""
    failed: bool = False
    """A tool's result that is an error."""


def parse_body(raw: bytes) -> dict[str, Any]:
    """Return a request's JSON object.

    Raises:
        BadRequestError: it is none, or none that could be passed on.
    """
    try:
        body = json.loads(raw.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise BadRequestError("the request's body is not UTF-8") from error
    except RecursionError as error:
        raise BadRequestError(f"the request's body nests more than {MAX_DEPTH} deep") from error
    except ValueError as error:
        raise BadRequestError(f"the request's body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadRequestError(f"the request's body must be an object, not {type_name(body)}")
    _check_depth(body)
    if b"\\ud" in raw or b"\\uD" in raw:
        try:
            json.dumps(body, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise BadRequestError("a text of the request holds half a character") from error
    return body


def type_name(value: object) -> str:
    """Return what JSON calls a value's type."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")


def text_field(body: Mapping[str, Any], key: str) -> str:
    """Return a text that must be there."""
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise BadRequestError(f"{key}: must be a text, not {type_name(value)}")
    return value


def stream_field(body: Mapping[str, Any]) -> bool:
    """Return whether the answer is to be streamed."""
    value = body.get("stream")
    if value is None or isinstance(value, bool):
        return bool(value)
    raise BadRequestError(f"stream: must be true or false, not {type_name(value)}")


def objects(value: object, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each object of a list, and its place."""
    if not isinstance(value, list):
        raise BadRequestError(f"{where}: must be a list, not {type_name(value)}")
    for place, item in enumerate(value):
        if not isinstance(item, dict):
            raise BadRequestError(f"{where}.{place}: must be an object, not {type_name(item)}")
        yield f"{where}.{place}", item


def tools_field(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the tools on offer; none where the field is absent."""
    if body.get("tools") is None:
        return []
    tools = []
    for where, tool in objects(body["tools"], "tools"):
        if not isinstance(tool.get("function", {}), dict):
            raise BadRequestError(f"{where}.function: must be an object")
        tools.append(tool)
    return tools


def content_text(content: object, where: str) -> str:
    """Return the text of a message's content: a text, or a list of blocks.

    What is no text is named in brackets.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise BadRequestError(f"{where}: must be a text or a list, not {type_name(content)}")
    texts = []
    for place, block in objects(content, where):
        if isinstance(block.get("text"), str):
            texts.append(block["text"])
        elif "text" in block:
            raise BadRequestError(f"{place}.text: must be a text, not {type_name(block['text'])}")
        elif isinstance(block.get("refusal"), str):
            texts.append(block["refusal"])
        else:
            texts.append(f"[{block.get('type', 'unknown')}]")
    return "\n".join(texts)


def system_text(parts: Iterable[Part]) -> str:
    """Return all system text."""
    return "\n\n".join(part.text for part in parts if part.role == "system" and part.text)


def opening_text(parts: Iterable[Part]) -> str:
    """Return what the user said before the first answer."""
    texts = []
    for part in parts:
        if part.role == "assistant":
            break
        if part.role == "user":
            texts.append(part.text)
    return "\n".join(texts)


def latest_parts(parts: Sequence[Part]) -> list[Part]:
    """Return what the user and the tools said since the last answer."""
    latest: list[Part] = []
    for part in reversed(parts):
        if part.role == "assistant" and latest:
            break
        if part.role in {"user", "result"}:
            latest.append(part)
    return latest[::-1]


def count_answers(parts: Iterable[Part]) -> int:
    """Return how many answers a conversation holds.

    What an assistant said without interruption is one answer. Agents may also send the calls of
    one answer apart, each with its result: the ids that `answer_id` made tell.
    """
    answers = 0
    known = set()
    within = False
    for part in parts:
        if part.role != "assistant":
            within = False
            continue
        made = _ID.fullmatch(part.call)
        if not within and not (made and made[1] in known):
            answers += 1
        within = True
        if made:
            known.add(made[1])
    return answers


def answer_id(kind: str, request: ModelRequest, index: int | None = None) -> str:
    """Return the id of an answer, or of a part of it: the same in every run."""
    end = "" if index is None else f"_{index}"
    return f"{kind}_bottle_{request.number}_{request.turn}{end}"


def turn_of(answer: object) -> int | None:
    """Return the turn of an id that `answer_id` made."""
    made = _ID.fullmatch(answer) if isinstance(answer, str) else None
    return int(made[2]) if made else None


def arguments_text(value: Mapping[str, Any] | str) -> str:
    """Return a call's input as the JSON object that a function takes."""
    given = {"input": value} if isinstance(value, str) else value
    return json.dumps(given, ensure_ascii=False)


def read_arguments(text: object) -> object:
    """Return a call's input; the text itself where it is no JSON object."""
    if not isinstance(text, str):
        return text if isinstance(text, dict) else {}
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def as_int(value: object) -> int:
    """Return a number of tokens, whatever the upstream sent for it."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def as_dict(value: object) -> Mapping[str, Any]:
    """Return an object, and an empty one for all else."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> Sequence[Any]:
    """Return a list, and an empty one for all else."""
    return value if isinstance(value, list) else ()


def as_text(value: object) -> str:
    """Return a text, and an empty one for all else."""
    return value if isinstance(value, str) else ""


def _refuse_constant(name: str) -> None:
    """Refuse what Python reads and JSON does not have."""
    raise ValueError(f"{name} is no JSON")


def _check_depth(body: object) -> None:
    """Refuse a body that would exhaust the stack of whoever writes it again."""
    level: list[object] = [body]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
        level = [value for value in below if isinstance(value, dict | list)]
        if not level:
            return
    raise BadRequestError(f"the request's body nests more than {MAX_DEPTH} deep")
