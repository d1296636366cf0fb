"""The tables of a manifest, as pydantic models: what a key is called, holds and means.

Unknown keys are refused and types are strict, so that a slip of the pen never becomes a default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Annotated
from typing import Any

from pydantic import AfterValidator
from pydantic import BaseModel
from pydantic import BeforeValidator
from pydantic import ConfigDict
from pydantic import Field
from pydantic import WithJsonSchema
from pydantic import model_validator
from pydantic_core import PydanticCustomError

from pytest_bottle.values import DURATION_PATTERN
from pytest_bottle.values import ENVIRONMENT_NAME_PATTERN
from pytest_bottle.values import MODE_PATTERN
from pytest_bottle.values import SIZE_PATTERN
from pytest_bottle.values import SKILL_NAME_PATTERN
from pytest_bottle.values import parse_duration
from pytest_bottle.values import parse_environment_name
from pytest_bottle.values import parse_guest_directory
from pytest_bottle.values import parse_guest_path
from pytest_bottle.values import parse_mode
from pytest_bottle.values import parse_size
from pytest_bottle.values import parse_skill_name
from pytest_bottle.values import parse_user

if TYPE_CHECKING:
    from collections.abc import Callable


def _human(kind: str, pattern: str, **bounds: int) -> WithJsonSchema:
    """Return the JSON Schema of a number that may also be written as text."""
    return WithJsonSchema(
        {"anyOf": [{"type": kind, **bounds}, {"type": "string", "pattern": pattern}]}
    )


def _pattern(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern})


def _no_nul(value: str) -> str:
    if "\0" in value:
        message = "must not contain a NUL character"
        raise ValueError(message)
    return value


def _not_provided(value: dict[str, Any]) -> dict[str, Any]:
    if value:
        code = "not_provided"
        raise PydanticCustomError(code, "is not provided by this version of pytest-bottle.")
    return value


Size = Annotated[
    int, BeforeValidator(parse_size), _human("integer", SIZE_PATTERN, exclusiveMinimum=0)
]
Duration = Annotated[
    float, BeforeValidator(parse_duration), _human("number", DURATION_PATTERN, exclusiveMinimum=0)
]
Mode = Annotated[
    int, BeforeValidator(parse_mode), _human("integer", MODE_PATTERN, minimum=0, maximum=0o777)
]
User = Annotated[str, BeforeValidator(parse_user), _human("integer", "^[^ :/]+$", minimum=0)]
Text = Annotated[str, AfterValidator(_no_nul)]
Name = Annotated[str, Field(min_length=1)]
GuestPath = Annotated[str, BeforeValidator(parse_guest_path), WithJsonSchema({"type": "string"})]
Workdir = Annotated[str, BeforeValidator(parse_guest_directory), _pattern("^/.*[^/]")]
EnvironmentName = Annotated[
    str, BeforeValidator(parse_environment_name), _pattern(ENVIRONMENT_NAME_PATTERN)
]
SkillName = Annotated[str, BeforeValidator(parse_skill_name), _pattern(SKILL_NAME_PATTERN)]
NotProvided = Annotated[
    dict[str, Any],
    AfterValidator(_not_provided),
    WithJsonSchema({"type": "object", "maxProperties": 0}),
]


class Table(BaseModel):
    """What all tables have in common."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


class ImageTable(Table):
    """The file system that a bottle starts from: `reference`, or `dockerfile` with its `args`."""

    reference: Name | None = None
    """An image's name, a root directory, or a path that ends in `Dockerfile`."""
    dockerfile: Name | None = None
    """A Dockerfile to build, relative to the manifest; its directory is the build context."""
    args: dict[str, Text] = {}
    """Build arguments."""

    @model_validator(mode="after")
    def _one_origin(self) -> ImageTable:
        if (self.reference is None) == (self.dockerfile is None):
            message = "must have exactly one of `reference` and `dockerfile`"
            raise ValueError(message)
        if self.args and self.dockerfile is None:
            message = "must have a `dockerfile` for its `args`"
            raise ValueError(message)
        return self


class FileTable(Table):
    """One file or directory for the guest: its `text`, or its `source` on the host."""

    source: Name | None = None
    """A file or directory on the host, relative to the manifest."""
    text: str | None = None
    """The file's content."""
    mode: Mode | None = None
    """The file's permission bits in octal; else those of the source, or 0644 for a text."""

    @model_validator(mode="after")
    def _one_origin(self) -> FileTable:
        if (self.source is None) == (self.text is None):
            message = "must have exactly one of `source` and `text`"
            raise ValueError(message)
        return self


def _table_with(key: str) -> Callable[[object], object]:
    """Return what turns the short form, a string, into a table with that key."""

    def expand(value: object) -> object:
        if isinstance(value, str):
            return {key: value}
        if isinstance(value, dict):
            return value
        message = "must be a string or a table"
        raise ValueError(message)

    return expand


Image = Annotated[
    ImageTable, BeforeValidator(_table_with("reference"), json_schema_input_type=Name | ImageTable)
]
File = Annotated[
    FileTable, BeforeValidator(_table_with("source"), json_schema_input_type=Name | FileTable)
]


class AgentTable(Table):
    """An agent: which CLI, in which bottle, with which prompt and skills."""

    kind: Name = "claude"
    """How the agent is run: `claude`, `command`, or a kind that a plugin adds."""
    bottle: Name | None = None
    """The bottle that it runs in; else the one called `default`."""
    prompt: Text | None = None
    """Text that is appended to the agent's system prompt."""
    prompt_file: Name | None = None
    """A file with that text, relative to the manifest."""
    skills: tuple[SkillName, ...] = Field(default=(), strict=False)
    """Skills, each a directory in `skills/` beside the manifest or in `~/.claude/skills/`."""
    model: Name | None = None
    """The model that the agent is told to use."""
    args: tuple[Text, ...] = Field(default=(), strict=False)
    """Further arguments for the agent's command line; the whole of it for kind `command`."""
    env: dict[EnvironmentName, Text] = {}
    """Environment variables of the agent's process."""

    @model_validator(mode="after")
    def _one_prompt(self) -> AgentTable:
        if self.prompt is not None and self.prompt_file is not None:
            message = "must not have both `prompt` and `prompt_file`"
            raise ValueError(message)
        return self


class BottleTable(Table):
    """A bottle: what its sandbox is made of, holds and may use."""

    backend: Name | None = None
    """What launches it: `bubblewrap`, `docker`, or a backend that a plugin adds."""
    image: Image | None = None
    """An image's name, a root directory (`./rootfs`), or a Dockerfile."""
    workdir: Workdir | None = None
    """Where commands run, and what relative paths are below; else `/workspace`."""
    user: User | None = None
    """Who runs commands, by name or uid; else the image's own user."""
    env: dict[EnvironmentName, Text] = {}
    """Environment variables of every command."""
    secrets: tuple[EnvironmentName, ...] = Field(default=(), strict=False)
    """Names of host environment variables whose values never enter the guest."""
    cpus: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Processors that it may use; a fraction is a share of one."""
    memory: Size | None = None
    """Memory that it may use; else 2 GiB."""
    pids: int | None = Field(default=None, ge=1)
    """Processes and threads that it may have at a time; else 512."""
    disk: Size | None = None
    """What it may write; else 1 GiB."""
    timeout: Duration | None = None
    """How long a command may run where the test names no other time."""
    files: dict[GuestPath, File] = {}
    """Files and directories for the guest, by guest path; a relative one is below the workdir."""
    egress: NotProvided = {}
    """Reserved for a later version."""
    git: NotProvided = {}
    """Reserved for a later version."""
    supervise: NotProvided = {}
    """Reserved for a later version."""


class ManifestTable(Table):
    """The whole of `bottle.toml`, or of `[tool.bottle]` in pyproject.toml."""

    agents: dict[Name, AgentTable] = {}
    """Agents by name."""
    bottles: dict[Name, BottleTable] = {}
    """Bottles by name."""
