"""The manifest: `bottle.toml`, or `[tool.bottle]` in pyproject.toml, found, read and checked."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pydantic import ValidationError

from pytest_bottle.errors import ManifestError
from pytest_bottle.nearest import nearest
from pytest_bottle.schema import AgentTable
from pytest_bottle.schema import AllowTable
from pytest_bottle.schema import AuthTable
from pytest_bottle.schema import BottleTable
from pytest_bottle.schema import EgressTable
from pytest_bottle.schema import FileTable
from pytest_bottle.schema import GitTable
from pytest_bottle.schema import ImageTable
from pytest_bottle.schema import ManifestTable
from pytest_bottle.schema import RemoteTable
from pytest_bottle.schema import RouteTable
from pytest_bottle.schema import SuperviseTable
from pytest_bottle.schema import Table
from pytest_bottle.schema import UserTable
from pytest_bottle.values import key_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

MANIFEST_NAME = "bottle.toml"
PYPROJECT_NAME = "pyproject.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Agents and bottles, as their author wrote them."""

    path: Path | None = None
    """The file; None where there is none."""
    agents: Mapping[str, AgentTable] = field(default_factory=dict)
    bottles: Mapping[str, BottleTable] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """What relative host paths are below: the file's directory, else the current one."""
        return self.path.parent if self.path else Path()

    def key(self, *parts: str) -> str:
        """Return a key's dotted path as it is written in this file."""
        return key_path(*_table_of(self.path), *parts)


EMPTY = Manifest()
"""The manifest of a project that has none."""


def find_manifest(start: Path, stop: Path) -> Path | None:
    """Return the nearest manifest in `start` or a directory above it, up to and including `stop`.

    In one directory `bottle.toml` goes before pyproject.toml, which counts only if it has a
    `[tool.bottle]` table. Where `stop` is not above `start`, only `start` is searched.

    Raises:
        ManifestError: a pyproject.toml on the way that mentions a bottle is not valid TOML.
    """
    start = start.absolute()
    stop = stop.absolute()
    directory = start.parent if start.is_file() else start
    above = [directory, *directory.parents]
    for candidate in above[: above.index(stop) + 1] if stop in above else above[:1]:
        manifest = candidate / MANIFEST_NAME
        if manifest.is_file():
            return manifest
        pyproject = candidate / PYPROJECT_NAME
        if pyproject.is_file() and b"bottle" in pyproject.read_bytes():
            tool = _parse_toml(pyproject).get("tool")
            if isinstance(tool, dict) and "bottle" in tool:
                return pyproject
    return None


def load_manifest(path: Path) -> Manifest:
    """Read and check a manifest.

    Args:
        path: A TOML file; of a `pyproject.toml` the `[tool.bottle]` table is read.

    Raises:
        ManifestError: the file cannot be read, or is wrong; all that is wrong is listed.
    """
    path = path.absolute()
    content: Any = _parse_toml(path)
    for part in _table_of(path):
        content = content.get(part) if isinstance(content, dict) else None
    if content is None:
        problem = "there is no [tool.bottle] table."
        remedy = (
            f"Add one, or name another file with the ini key bottle_manifest ({MANIFEST_NAME})."
        )
        raise ManifestError(problem, file=str(path), remedy=remedy)
    try:
        table = ManifestTable.model_validate(content)
    except ValidationError as error:
        flaws = [_flaw(details) for details in error.errors(include_url=False)]
        # The author reads the flaws; pydantic's own words would only repeat them.
        raise _error(path, flaws) from None
    manifest = Manifest(path=path, agents=table.agents, bottles=table.bottles)
    unknown = [
        _Flaw(
            loc=("agents", name, "bottle"),
            problem=f"there is no bottle {agent.bottle!r}.",
            remedy=nearest(agent.bottle, table.bottles) or f"Add [bottles.{agent.bottle}].",
        )
        for name, agent in table.agents.items()
        if agent.bottle is not None and agent.bottle not in table.bottles
    ]
    if unknown:
        raise _error(path, unknown)
    return manifest


def manifest_schema() -> dict[str, Any]:
    """Return the JSON Schema of `bottle.toml`, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ManifestTable.model_json_schema(mode="validation"),
        "title": MANIFEST_NAME,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flaw:
    loc: tuple[str, ...]
    problem: str
    remedy: str


def _table_of(path: Path | None) -> tuple[str, ...]:
    return ("tool", "bottle") if path and path.name == PYPROJECT_NAME else ()


def _parse_toml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        problem = f"cannot be read: {error.strerror}."
        raise ManifestError(problem, file=str(path)) from error
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 text (byte {error.start})."
        raise ManifestError(problem, file=str(path), remedy="Save it as UTF-8.") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = found[1] if found else str(text.count("\n") + 1)
        problem = f"line {line} is not valid TOML: {error}."
        raise ManifestError(problem, file=str(path), remedy="Correct that line.") from error


def _error(path: Path, flaws: list[_Flaw]) -> ManifestError:
    """Return one error for all flaws: a sentence for one, a list for several."""
    table = _table_of(path)
    if len(flaws) == 1:
        (flaw,) = flaws
        key = key_path(*table, *flaw.loc)
        return ManifestError(flaw.problem, file=str(path), key=key, remedy=flaw.remedy)
    lines = [f"{key_path(*table, *flaw.loc)}: {flaw.problem} {flaw.remedy}" for flaw in flaws]
    return ManifestError("\n  ".join([f"{len(flaws)} errors:", *lines]), file=str(path))


_EXPECTED = {
    "dict_type": "a table",
    "float_type": "a number",
    "int_type": "an integer",
    "model_type": "a table",
    "string_type": "a string",
    "tuple_type": "an array",
}
_TOML_TYPES = {
    bool: "a boolean",
    dict: "a table",
    float: "a float",
    int: "an integer",
    list: "an array",
    str: "a string",
}


def _flaw(details: ErrorDetails) -> _Flaw:
    """Return one of pydantic's errors in the manifest's own words.

    The value is not repeated: it may be a secret in the wrong place.
    """
    loc = tuple(str(part) for part in details["loc"] if part != "[key]")
    kind = details["type"]
    remedy = "`pytest-bottle schema` says what may stand here."
    if kind == "extra_forbidden":
        known = _table_at(loc).model_fields
        return _Flaw(loc=loc, problem="unknown key.", remedy=nearest(loc[-1], known))
    if kind in _EXPECTED:
        got = _TOML_TYPES.get(type(details["input"]), "a date or time")
        if kind == "string_type" and isinstance(details["input"], int | float):
            remedy = "Put the value in quotes."
        elif kind == "tuple_type" and isinstance(details["input"], str):
            remedy = "Put the value in brackets."
        return _Flaw(loc=loc, problem=f"must be {_EXPECTED[kind]}, not {got}.", remedy=remedy)
    if kind == "value_error":
        return _Flaw(loc=loc, problem=f"{details['ctx']['error']}.", remedy=remedy)
    problem = details["msg"].replace("Input should", "must").replace("String should", "must")
    return _Flaw(loc=loc, problem=f"{problem}.", remedy=remedy)


_TABLES: Mapping[tuple[str, ...], type[Table]] = {
    ("agents", "*"): AgentTable,
    ("bottles", "*"): BottleTable,
    ("bottles", "*", "image"): ImageTable,
    ("bottles", "*", "files", "*"): FileTable,
    ("bottles", "*", "egress"): EgressTable,
    ("bottles", "*", "egress", "allow", "*"): AllowTable,
    ("bottles", "*", "egress", "routes", "*"): RouteTable,
    ("bottles", "*", "egress", "routes", "*", "auth"): AuthTable,
    ("bottles", "*", "git"): GitTable,
    ("bottles", "*", "git", "user"): UserTable,
    ("bottles", "*", "git", "remotes", "*"): RemoteTable,
    ("bottles", "*", "git", "remotes", "*", "auth"): AuthTable,
    ("bottles", "*", "supervise"): SuperviseTable,
}
"""The tables by where they stand; `*` is a name or a number."""


def _table_at(loc: tuple[str, ...]) -> type[Table]:
    """Return the table that an unknown key was found in."""
    for place, table in _TABLES.items():
        if len(place) == len(loc) - 1 and all(
            part in {"*", found} for part, found in zip(place, loc, strict=False)
        ):
            return table
    return ManifestTable
