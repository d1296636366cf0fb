"""A test's transcript as one HTML file, which needs neither a server nor a script to be read."""

from __future__ import annotations

import difflib
import functools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

import jinja2

from pytest_bottle.printable import printable
from pytest_bottle.transcript.text import clock
from pytest_bottle.transcript.text import folded

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

    from pytest_bottle.changes import Diff
    from pytest_bottle.transcript.story import TestStory

OUTPUT_LIMIT = 20_000
"""Characters shown of one tool's output or one file's difference."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a difference, with what it is."""

    kind: str
    """`added`, `deleted`, `place` or `same`."""
    text: str


def render_page(story: TestStory, redact: Callable[[str], str]) -> str:
    """Return the page of one test.

    Args:
        story: What happened.
        redact: Takes the secrets out of a text; applied to all that is shown.
    """

    def shown(value: object) -> object:
        return redact(printable(value)) if isinstance(value, str) else value

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pytest_bottle.transcript", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )
    environment.filters |= {
        "changed_files": _changed_files,
        "brief": functools.partial(json.dumps, ensure_ascii=False, default=str),
        "cut": _cut,
        "folded": folded,
        "json": functools.partial(json.dumps, indent=2, ensure_ascii=False, default=str),
        "clock": clock,
    }
    return environment.get_template("transcript.html").render(story=story)


def _cut(text: str | None) -> str:
    """Return a text, less its middle where it is very long."""
    text = text or ""
    if len(text) <= OUTPUT_LIMIT:
        return text
    half = OUTPUT_LIMIT // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters more ...\n{text[-half:]}"


def _changed_files(diff: Diff) -> Iterator[dict[str, Any]]:
    """Yield each changed file with the lines of its difference."""
    for change in diff:
        before, after = diff.before.get(change.path), diff.after.get(change.path)
        old = "" if before is None else before.text
        new = "" if after is None else after.text
        lines: list[Line] = []
        if old is not None and new is not None and len(old) + len(new) <= 4 * OUTPUT_LIMIT:
            found = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=3)
            lines = [_line(text) for text in list(found)[2:]]
        yield {"path": change.path, "kind": change.kind, "lines": lines}


def _line(text: str) -> Line:
    kinds = {"+": "added", "-": "deleted", "@": "place"}
    return Line(kinds.get(text[:1], "same"), text)
