"""The table of what is ignored in a request when its recording is looked for, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Literal
from typing import TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Scope: TypeAlias = Literal["context", "results", "user", "other", "anywhere"]
"""Where a text stands.

`context` is what the agent says of itself and of its surroundings: the system prompt, messages of
the system or the developer, and `<system-reminder>`, `<env>` and `<environment_context>` in those
of the user. `results` is what tools answered.
"""

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_TEMPORARY = r"tmp/tmp(?:[a-z0-9_]{8}|\.[A-Za-z0-9]{10})(?![\w.])"
_DATE = r"(?:\d{4}[-/]\d{2}[-/]\d{2}|[A-Z][a-z]{2} [A-Z][a-z]{2} \d{1,2} \d{4})"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRule:
    """Something that is known by its key or its form; `normalise` knows how to drop it."""

    what: str
    why: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRule:
    """A part of a text, known by the words around it."""

    what: str
    why: str
    scope: Scope
    pattern: re.Pattern[str]
    replacement: str | Callable[[re.Match[str]], str]

    @property
    def where(self) -> str:
        """Where it is looked for, in words."""
        return {"context": "context", "results": "results of tools"}.get(self.scope, "any text")


def _text(
    what: str,
    pattern: str,
    replacement: str | Callable[[re.Match[str]], str],
    *,
    scope: Scope,
    why: str,
) -> TextRule:
    return TextRule(
        what=what,
        why=why,
        scope=scope,
        pattern=re.compile(pattern, re.MULTILINE),
        replacement=replacement,
    )


def _commits(block: re.Match[str]) -> str:
    return re.sub(r"(?m)^[0-9a-f]{7,40}(?= )", "[commit]", block[0])


RULES: tuple[FieldRule | TextRule, ...] = (
    FieldRule(
        what="`metadata.user_id`, `client_metadata`, `safety_identifier`",
        where="request",
        why="name the device, the account and the session",
    ),
    FieldRule(
        what="`prompt_cache_key`, `cache_control`",
        where="request, blocks, tools",
        why="steer caching; an agent moves its marks along with the conversation",
    ),
    FieldRule(
        what="block `x-anthropic-billing-header: ...`",
        where="system prompt",
        why="holds the CLI's version; a block with anything else in it is kept",
    ),
    FieldRule(
        what="ids of tool calls",
        where="conversation",
        why="are random; they are replaced by their number, so that pairs stay pairs",
    ),
    FieldRule(
        what="`id` of items",
        where="conversation, Responses API",
        why="are random",
    ),
    FieldRule(
        what="`signature` of thinking, `encrypted_content`",
        where="conversation",
        why="are opaque, and say nothing that the rest does not",
    ),
    FieldRule(
        what="whether a text is a string or a list of one block",
        where="system prompt, messages",
        why="means the same; Claude Code changes it with its caching marks",
    ),
    FieldRule(
        what="the working directory and the home directory that the context names",
        where="any text",
        why="differ by backend and image; replaced by `[cwd]` and `[home]` wherever they stand",
    ),
    FieldRule(
        what="the bottle's own names",
        where="any text",
        why="are made anew for each bottle",
    ),
    _text(
        "today's date",
        rf"(Today's date(?: is(?: now)?|:) ){_DATE}",
        r"\1[date]",
        scope="context",
        why="a recording is older than its replay",
    ),
    _text(
        "`<current_date>`, `<timezone>`",
        r"<(current_date|timezone)>[^<\n]*</\1>",
        r"<\1>[\1]</\1>",
        scope="context",
        why="a recording is older than its replay, and made elsewhere",
    ),
    _text(
        "`Platform:`, `OS Version:`, `Shell:`",
        r"^( *(?:- )?(Platform|OS Version|Shell): )\S.*$",
        r"\1[\2]",
        scope="context",
        why="name the kernel of the host",
    ),
    _text(
        "`<shell>`",
        r"<shell>[^<\n]*</shell>",
        "<shell>[Shell]</shell>",
        scope="context",
        why="names the host's shell",
    ),
    _text(
        "ids under `Recent commits:`",
        r"^Recent commits:\n(?:[0-9a-f]{7,40} .*\n?)+",
        _commits,
        scope="context",
        why="come of the time at which a test's repository was made; the subjects are kept",
    ),
    _text(
        "temporary names: `/tmp/tmpab12cd34`, `/tmp/tmp.Ab12Cd34Ef`, `pytest-of-me/pytest-7`",
        rf"(?<=/){_TEMPORARY}|pytest-of-[\w.-]+/pytest-\d+",
        "[temporary]",
        scope="anywhere",
        why="are random or counted",
    ),
    _text(
        "session ids in paths below `.claude`, `.codex` and `/tmp/claude-N`",
        rf"((?:/\.claude|/\.codex|/tmp/claude-\d+)/[^\s\"'`]*?){_UUID}",
        r"\1[session]",
        scope="anywhere",
        why="are random",
    ),
    _text(
        "the user id in `/tmp/claude-N`",
        r"(?<=/tmp/claude-)\d+",
        "[uid]",
        scope="anywhere",
        why="differs by backend and image",
    ),
    _text(
        "`Chunk ID:`, `Wall time:`, `Original token count:`",
        r"^(Chunk ID|Wall time|Original token count): [0-9a-f.]+",
        r"\1: [\1]",
        scope="results",
        why="Codex measures each command",
    ),
    _text(
        "`duration_seconds`",
        r'("duration_seconds": ?)[\d.]+',
        r'\1"[seconds]"',
        scope="results",
        why="Codex measures each command",
    ),
    _text(
        "`in 0.12s`",
        r"\bin \d+\.\d+ ?s\b",
        "in [seconds]",
        scope="results",
        why="test runners measure themselves",
    ),
    _text(
        "times in `ls -l`",
        r"^([-bcdlps][-rwxsStT]{9}[.+@]? +\d+ +\S+ +\S+ +[\d,]+ )[A-Z][a-z]{2} +\d+ +[\d:]{4,5}",
        r"\1[time]",
        scope="results",
        why="files are written when the test runs",
    ),
    _text(
        "`commit <id>` and `Date:` of `git log`",
        r"^commit [0-9a-f]{40}|^Date: {3}\S.*$",
        lambda found: f"{found[0].split()[0]} [git]",
        scope="results",
        why="commits are made when the test runs",
    ),
    _text(
        "`[main 1a2b3c4]` of `git commit`",
        r"^(\[\S+ (?:\(root-commit\) )?)[0-9a-f]{7,40}\]",
        r"\1[git]]",
        scope="results",
        why="commits are made when the test runs",
    ),
    _text(
        "`at 0x7f1ea70506d0`",
        r"\bat 0x[0-9a-f]{8,16}\b",
        "at [address]",
        scope="results",
        why="addresses of objects are random",
    ),
)
