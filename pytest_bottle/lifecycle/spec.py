"""What one test asks for: an agent or bottle of the manifest, and what it overrides.

Checking a marker must stay cheap, so nothing here needs the manifest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.errors import MarkerError
from pytest_bottle.nearest import nearest
from pytest_bottle.plan import FilePlan
from pytest_bottle.plan import ImagePlan
from pytest_bottle.values import parse_budget
from pytest_bottle.values import parse_destination
from pytest_bottle.values import parse_duration
from pytest_bottle.values import parse_environment_name
from pytest_bottle.values import parse_guest_directory
from pytest_bottle.values import parse_guest_path
from pytest_bottle.values import parse_mode
from pytest_bottle.values import parse_size
from pytest_bottle.values import parse_skill_name
from pytest_bottle.values import parse_user
from pytest_bottle.web_values import parse_web_host

if TYPE_CHECKING:
    from pytest_bottle.usage import Budget

SCOPES = ("function", "class", "module", "session", "run")
"""How widely a bottle may be shared, from one test to all workers of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One test's wishes; what is None or empty is left to the manifest.

    `env`, `secrets` and `files` are added to the manifest's, and win where both name the same one;
    everything else replaces the manifest's. Host paths are as they were written, not yet resolved.
    """

    agent: str | None = None
    bottle: str | None = None
    backend: str | None = None
    scope: str | None = None
    """One of `SCOPES`."""
    image: ImagePlan | None = None
    workdir: str | None = None
    user: str | None = None
    env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    cpus: float | None = None
    memory: int | None = None
    """Bytes."""
    pids: int | None = None
    disk: int | None = None
    """Bytes."""
    timeout: float | None = None
    """Seconds."""
    budget: Budget | None = None
    golden: bool | None = None
    egress: tuple[str, ...] | None = None
    network: tuple[str, ...] | None = None
    files: tuple[FilePlan, ...] = ()
    prompt: str | None = None
    skills: tuple[str, ...] | None = None
    model: str | None = None
    args: tuple[str, ...] | None = None
    node: str = field(default="", compare=False)
    """The test or the call that asks, for errors."""

    @property
    def overrides(self) -> bool:
        """Whether it asks for more than an agent or bottle of the manifest, on some backend."""
        named = {"agent", "bottle", "backend", "scope", "golden", "node"}
        return any(
            getattr(self, one.name) != one.default for one in fields(self) if one.name not in named
        )


def spec_from_arguments(node: str = "", /, **arguments: object) -> Spec:
    """Return what the arguments of a marker or a factory call ask for.

    Args:
        node: The test's node id, or the call, for errors.
        arguments: Fields of `Spec` but `node`; None leaves one to the manifest. Sizes, times, files
            and images may be written as in the manifest, host paths also as `Path`.

    Raises:
        MarkerError: an argument is unknown or has a value that it cannot have.
    """
    values: dict[str, Any] = {}
    for name, value in arguments.items():
        parse = _PARSERS.get(name)
        if parse is None:
            problem = f"unknown argument {name!r}."
            raise MarkerError(problem, node=node, remedy=nearest(name, _PARSERS))
        if value is None:
            continue
        try:
            values[name] = parse(value)
        except ValueError as error:
            problem = f"{name}= {error}."
            raise MarkerError(problem, node=node, remedy=_remedy(name, value)) from error
    return Spec(**values, node=node)


def _remedy(name: str, value: object) -> str:
    if name == "scope" and isinstance(value, str):
        return nearest(value, SCOPES)
    if name in {"skills", "secrets", "args", "egress", "network"} and isinstance(value, str):
        return f"Write {name}=[...] even for one."
    return ""


def _name(value: object) -> str:
    if isinstance(value, str) and value:
        return value
    message = "must be a string that is not empty"
    raise ValueError(message)


def _text(value: object) -> str:
    if isinstance(value, str) and "\0" not in value:
        return value
    message = "must be a string without NUL characters"
    raise ValueError(message)


def _scope(value: object) -> str:
    if isinstance(value, str) and value in SCOPES:
        return value
    message = f"must be one of {', '.join(SCOPES)}"
    raise ValueError(message)


def _cpus(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
        if math.isfinite(number) and number > 0:
            return number
    message = "must be a number above zero"
    raise ValueError(message)


def _pids(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    message = "must be a whole number above zero"
    raise ValueError(message)


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    message = "must be True or False"
    raise ValueError(message)


def _host_path(value: object) -> str:
    if isinstance(value, str | Path) and str(value):
        return str(value)
    message = "must be a path on the host"
    raise ValueError(message)


def _items(value: object) -> Sequence[object]:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return value
    message = "must be a list of strings"
    raise ValueError(message)


def _table(value: object, known: set[str]) -> Mapping[str, object]:
    """Return a table of which all keys are known."""
    if not isinstance(value, Mapping):
        message = "must be a mapping"
        raise ValueError(message)  # noqa: TRY004 -- every parser here raises ValueError
    for key in value:
        if key not in known:
            message = f"has an unknown key {key!r}. {nearest(str(key), known)}".rstrip(".")
            raise ValueError(message)
    return value


def _environment(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping):
        message = "must map names to strings"
        raise ValueError(message)  # noqa: TRY004 -- every parser here raises ValueError
    return tuple((parse_environment_name(name), _text(text)) for name, text in value.items())


def _names(parse: Callable[[object], str]) -> Callable[[object], tuple[str, ...]]:
    return lambda value: tuple(parse(item) for item in _items(value))


def _image(value: object) -> ImagePlan:
    if isinstance(value, str | Path):
        return ImagePlan(reference=_host_path(value))
    table = _table(value, {"dockerfile", "args"})
    arguments = table.get("args", {})
    if "dockerfile" not in table or not isinstance(arguments, Mapping):
        message = "must be a string, or have a `dockerfile` and perhaps a table of `args`"
        raise ValueError(message)
    return ImagePlan(
        dockerfile=Path(_host_path(table["dockerfile"])),
        build_args=tuple((_name(name), _text(text)) for name, text in arguments.items()),
    )


def _file(guest: object, value: object) -> FilePlan:
    path = parse_guest_path(guest)
    if isinstance(value, str | Path):
        return FilePlan(guest=path, source=Path(_host_path(value)))
    table = _table(value, {"source", "text", "mode"})
    if ("source" in table) == ("text" in table):
        message = f"must have exactly one of `source` and `text` for {path!r}"
        raise ValueError(message)
    return FilePlan(
        guest=path,
        source=Path(_host_path(table["source"])) if "source" in table else None,
        text=_text(table["text"]) if "text" in table else None,
        mode=parse_mode(table["mode"]) if "mode" in table else None,
    )


def _files(value: object) -> tuple[FilePlan, ...]:
    if not isinstance(value, Mapping):
        message = "must map guest paths to host paths or to {'text': ...}"
        raise ValueError(message)  # noqa: TRY004 -- every parser here raises ValueError
    return tuple(_file(guest, entry) for guest, entry in value.items())


_PARSERS: Mapping[str, Callable[[object], object]] = {
    "agent": _name,
    "bottle": _name,
    "backend": _name,
    "scope": _scope,
    "image": _image,
    "workdir": parse_guest_directory,
    "user": parse_user,
    "env": _environment,
    "secrets": _names(parse_environment_name),
    "cpus": _cpus,
    "memory": parse_size,
    "pids": _pids,
    "disk": parse_size,
    "timeout": parse_duration,
    "budget": parse_budget,
    "golden": _boolean,
    "egress": _names(parse_web_host),
    "network": _names(parse_destination),
    "files": _files,
    "prompt": _text,
    "skills": _names(parse_skill_name),
    "model": _name,
    "args": _names(_text),
}

ARGUMENTS = tuple(_PARSERS)
"""The arguments that a marker and a factory take."""
