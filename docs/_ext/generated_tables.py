"""Directives that write reference tables from the code, so that they cannot fall behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from pytest_bottle.gateway.rules import RULES
from pytest_bottle.lifecycle.extensions import Extensions
from pytest_bottle.lifecycle.spec import ARGUMENTS
from pytest_bottle.manifest import manifest_schema
from pytest_bottle.options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Iterator

    from docutils import nodes
    from sphinx.application import Sphinx


def options_table() -> Iterator[tuple[str, ...]]:
    """Yield a row for each setting."""
    yield "Option", "Environment", "Ini key", "Meaning"
    for option in OPTIONS:
        flag = f"`{option.flag}={option.metavar}`"
        yield flag, f"`{option.variable}`", f"`{option.ini}`", option.help


def manifest_table(name: str) -> Iterator[tuple[str, ...]]:
    """Yield a row for each key of one kind of table."""
    yield "Key", "Value", "Meaning"
    for key, schema in manifest_schema()["$defs"][name]["properties"].items():
        yield f"`{key}`", _kind(schema), schema.get("description", "").replace("\n", " ")


def capabilities_table() -> Iterator[tuple[str, ...]]:
    """Yield a row for each capability that is built in."""
    extensions = Extensions()
    yield "Capability", "Kind"
    for name in extensions.capability_names:
        yield f"`{name}`", "backend" if name in extensions.backend_names else "host"


def cassettes_table() -> Iterator[tuple[str, ...]]:
    """Yield a row for each thing that is ignored when a recording is looked for."""
    yield "Ignored", "Where", "Why"
    for rule in RULES:
        yield rule.what, rule.where, rule.why


def arguments_table() -> Iterator[tuple[str, ...]]:
    """Yield a row for each argument of the marker, with its meaning in the manifest."""
    tables = manifest_schema()["$defs"]
    yield "Argument", "Meaning"
    for name in ARGUMENTS:
        yield f"`{name}`", _ARGUMENTS.get(name) or _manifest_meaning(name, tables)


_ARGUMENTS = {
    "agent": "The agent of the manifest to put in it.",
    "bottle": "The bottle of the manifest to start from; else the agent's, else `default`.",
    "backend": "What launches it; a list runs the test on each (marker only).",
    "scope": "`function`, `class`, `module`, `session` or `run` (marker only).",
    "env": "Environment variables of every command, added to the manifest's.",
    "egress": "Hosts that its proxy lets pass, in place of the manifest's `egress.allow`.",
    "network": "What it reaches past its proxy, in place of the manifest's `egress.network`.",
    "files": "Files and directories for the guest, added to the manifest's: guest path to host "
    "path, or to `{'text': ...}`.",
    "secrets": "Names of host environment variables whose values never enter the guest, added to "
    "the manifest's.",
}


def _manifest_meaning(name: str, tables: dict[str, Any]) -> str:
    for table in ("BottleTable", "AgentTable"):
        if name in tables[table]["properties"]:
            meaning: str = tables[table]["properties"][name]["description"]
            return meaning
    raise KeyError(name)


def _kind(schema: dict[str, Any]) -> str:
    """Return a JSON Schema in a few words."""
    match schema:
        case {"anyOf": choices}:
            kinds = [_kind(choice) for choice in choices if choice.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
        case {"$ref": reference}:
            return "table" if reference.endswith("Table") else reference.rsplit("/", 1)[-1]
        case {"type": "array"}:
            return "array of strings"
        case {"type": "object"}:
            return "table"
        case {"type": kind}:
            return str(kind)
        case _:
            return ""


class GeneratedTable(SphinxDirective):
    """`{generated-table} NAME`, with an argument for `manifest`."""

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parse the rows as a Markdown table."""
        source = {
            "options": options_table,
            "manifest": manifest_table,
            "capabilities": capabilities_table,
            "cassettes": cassettes_table,
            "arguments": arguments_table,
        }[self.arguments[0]]
        lines = list(_markdown(source(*self.arguments[1:])))
        return self.parse_content_to_nodes_of(lines)

    def parse_content_to_nodes_of(self, lines: list[str]) -> list[nodes.Node]:
        """Return what lines of Markdown parse to."""
        self.content = StringList(lines, source="generated")
        return self.parse_content_to_nodes()


def _markdown(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for number, row in enumerate(rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
        if number == 0:
            yield "|" + " --- |" * len(row)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("generated-table", GeneratedTable)
    return {"version": "1", "parallel_read_safe": True}
