"""Takes out of a request what differs from run to run, so that a recording can be found again.

What is left decides which recorded answer a request gets. So each rule is as narrow as it can be:
it knows the sentence, the line or the field that the volatile part is in, and where that may
stand. A word that changes anywhere else is another request. `RULES` says all there is.

Normalising twice is the same as once: requests in a cassette are normalised again when they are
read, and a rule that is added later holds for recordings from before it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.gateway.rules import RULES
from pytest_bottle.gateway.rules import Scope
from pytest_bottle.gateway.rules import TextRule

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from collections.abc import Mapping

_REMINDER = re.compile(r"<(system-reminder|env|environment_context)>.*?</\1>", re.DOTALL)
"""What an agent puts of its own into a user's message."""
_BILLING = re.compile(r"x-anthropic-billing-header:[^\n]*\s*")
_CWD = re.compile(
    r"^ *(?:- )?(?:Primary w|W)orking directory: (/\S+) *$|<cwd>(/[^<\s]+)</cwd>", re.MULTILINE
)
_HOME = re.compile(r"(/[^\s`'\"]+)/\.(?:claude/projects|codex/skills)/")
_TEXT_RULES = [rule for rule in RULES if isinstance(rule, TextRule)]

_ROLES: Mapping[str, Scope] = {
    "system": "context",
    "developer": "context",
    "tool": "results",
    "user": "user",
}
_CALLS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
_HEAD = ("model", "system", "instructions", "messages", "input", "tools")
"""What a stored request begins with."""


def normalise(body: Mapping[str, Any], names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return a request's JSON without what differs from run to run.

    Args:
        body: The request, of any of the APIs. It is left as it is.
        names: What is called otherwise in each run, as the bottle's host name, by what it is:
            each such text is replaced by `[what]` wherever it stands.
    """
    return _Normaliser(body, names or {}).result()


class _Normaliser:
    """Goes through one request."""

    def __init__(self, body: Mapping[str, Any], names: Mapping[str, str]) -> None:
        # Before the rules: a rule may take a part of a directory's name.
        self._body = _each_text(body, _placing(_places(body, names)))
        self._numbers: dict[str, str] = {}

    def result(self) -> dict[str, Any]:
        body = {key: value for key, value in self._body.items() if key not in _IGNORED}
        if isinstance(body.get("metadata"), dict):
            body["metadata"] = _without(body["metadata"], "user_id")
            if not body["metadata"]:
                del body["metadata"]
        if "system" in body:
            body["system"] = self._content(body["system"], "context")
        if isinstance(body.get("instructions"), str):
            body["instructions"] = self._text(body["instructions"], "context")
        for key in ("messages", "input"):
            if isinstance(body.get(key), list):
                body[key] = [self._item(item) for item in body[key]]
            elif isinstance(body.get(key), str):
                body[key] = self._text(body[key], "user")
        if isinstance(body.get("tools"), list):
            body["tools"] = [_without(tool, "cache_control") for tool in body["tools"]]
        head = [key for key in _HEAD if key in body]
        return {key: body[key] for key in (*head, *sorted(body.keys() - set(head)))}

    def _item(self, item: Any) -> Any:  # noqa: ANN401 - any JSON
        """Return a message of a conversation, or another item of it."""
        if not isinstance(item, dict):
            return item
        item = self._renumbered(_without(item, "cache_control", "encrypted_content"))
        if "role" not in item or item.get("type") == "message":
            # The Responses API numbers its items, and what it said is known by its contents.
            item.pop("id", None)
        if isinstance(item.get("tool_calls"), list):
            item["tool_calls"] = [self._renumbered(call, "id") for call in item["tool_calls"]]
        if "content" in item:
            item["content"] = self._content(item["content"], _scope(item))
        if "output" in item:
            item["output"] = self._content(item["output"], "results")
        return item

    def _content(self, content: Any, scope: Scope) -> Any:  # noqa: ANN401 - any JSON
        """Return a message's content as a list of blocks, if it is one or a text."""
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        if not isinstance(content, list):
            return content
        return [
            self._block(block, scope) if isinstance(block, dict) else block
            for block in content
            if not (scope == "context" and _is_billing(block))
        ]

    def _block(self, block: dict[str, Any], scope: Scope) -> dict[str, Any]:
        block = _without(block, "cache_control")
        kind = block.get("type")
        if kind == "thinking":
            block.pop("signature", None)
        block = self._renumbered(block, *(["id"] if kind in _CALLS else []))
        if isinstance(block.get("text"), str):
            block["text"] = self._text(block["text"], scope)
        if "tool_use_id" in block and "content" in block:
            block["content"] = self._content(block["content"], "results")
        return block

    def _renumbered(self, item: Any, *more: str) -> Any:  # noqa: ANN401 - any JSON
        """Return an item with its ids of calls replaced by their number in the conversation."""
        if not isinstance(item, dict):
            return item
        item = dict(item)
        for key in ("tool_use_id", "call_id", "tool_call_id", *more):
            if isinstance(item.get(key), str):
                known = self._numbers.setdefault(item[key], f"call-{len(self._numbers) + 1}")
                item[key] = known
        return item

    def _text(self, text: str, scope: Scope) -> str:
        if scope in {"user", "results"}:
            text = _REMINDER.sub(lambda found: _ruled(found[0], "context"), text)
        return _ruled(text, scope)


_IGNORED = frozenset({"prompt_cache_key", "client_metadata", "safety_identifier", "cache_control"})


def _ruled(text: str, scope: Scope) -> str:
    for rule in _TEXT_RULES:
        if rule.scope in {scope, "anywhere"}:
            text = rule.pattern.sub(rule.replacement, text)
    return text


def _places(body: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    """Return what to replace literally: given names, and the directories that a request names."""
    found = {value: f"[{what}]" for what, value in names.items() if value}
    for text in _context(body):
        for match in _CWD.finditer(text):
            cwd = match[1] or match[2]
            found.setdefault(cwd, "[cwd]")
            # Claude Code makes a directory name of it.
            found.setdefault(re.sub(r"[^A-Za-z0-9]", "-", cwd), "[cwd-slug]")
        for match in _HOME.finditer(text):
            found.setdefault(match[1], "[home]")
    return found


def _placing(places: Mapping[str, str]) -> Callable[[str], str]:
    ordered = [
        (value, re.compile(rf"(?<![\w.<-]){re.escape(value)}(?![\w-]|\.\w)"), what)
        for value, what in sorted(places.items(), key=lambda item: -len(item[0]))
    ]

    def placed(text: str) -> str:
        for value, pattern, what in ordered:
            if value in text:
                text = pattern.sub(what, text)
        return text

    return placed


def _context(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts in which an agent says where it runs."""
    yield from _texts([body.get("system"), body.get("instructions")])
    for key in ("messages", "input"):
        items = body.get(key)
        for item in items if isinstance(items, list) else []:
            scope = _scope(item) if isinstance(item, dict) else "other"
            for text in _texts(item.get("content")) if scope in {"context", "user"} else ():
                if scope == "user":
                    yield from (found[0] for found in _REMINDER.finditer(text))
                else:
                    yield text


def _scope(item: Mapping[str, Any]) -> Scope:
    return _ROLES.get(str(item.get("role")), "other")


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    match value:
        case str():
            yield value
        case list():
            for each in value:
                yield from _texts(each)
        case {"text": str(text)}:
            yield text


def _each_text(value: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401 - any JSON
    match value:
        case str():
            return change(value)
        case dict():
            return {key: _each_text(each, change) for key, each in value.items()}
        case list():
            return [_each_text(each, change) for each in value]
        case _:
            return value


def _without(value: Any, *keys: str) -> Any:  # noqa: ANN401 - any JSON
    if not isinstance(value, dict):
        return value
    return {key: each for key, each in value.items() if key not in keys}


def _is_billing(block: Any) -> bool:  # noqa: ANN401 - any JSON
    return isinstance(block, dict) and bool(_BILLING.fullmatch(str(block.get("text", ""))))
