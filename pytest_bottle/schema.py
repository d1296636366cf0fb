"""The tables of a manifest, as pydantic models: what a key is called, holds and means.

Unknown keys are refused and types are strict, so that a slip of the pen never becomes a default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Annotated
from typing import Literal

from pydantic import AfterValidator
from pydantic import BaseModel
from pydantic import BeforeValidator
from pydantic import ConfigDict
from pydantic import Field
from pydantic import WithJsonSchema
from pydantic import model_validator

from pytest_bottle.usage import Budget as BudgetValue
from pytest_bottle.values import BUDGET_PATTERN
from pytest_bottle.values import DURATION_PATTERN
from pytest_bottle.values import ENVIRONMENT_NAME_PATTERN
from pytest_bottle.values import MODE_PATTERN
from pytest_bottle.values import SIZE_PATTERN
from pytest_bottle.values import SKILL_NAME_PATTERN
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
from pytest_bottle.web_values import HEADER_PATTERN
from pytest_bottle.web_values import METHOD_PATTERN
from pytest_bottle.web_values import REMOTE_NAME_PATTERN
from pytest_bottle.web_values import parse_header_name
from pytest_bottle.web_values import parse_method
from pytest_bottle.web_values import parse_path_prefix
from pytest_bottle.web_values import parse_proxy_url
from pytest_bottle.web_values import parse_ref_pattern
from pytest_bottle.web_values import parse_remote_name
from pytest_bottle.web_values import parse_web_host

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


Size = Annotated[
    int, BeforeValidator(parse_size), _human("integer", SIZE_PATTERN, exclusiveMinimum=0)
]
Duration = Annotated[
    float, BeforeValidator(parse_duration), _human("number", DURATION_PATTERN, exclusiveMinimum=0)
]
Budget = Annotated[
    BudgetValue,
    BeforeValidator(parse_budget),
    _human("number", BUDGET_PATTERN, exclusiveMinimum=0),
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
Destination = Annotated[
    str, BeforeValidator(parse_destination), WithJsonSchema({"type": "string", "minLength": 1})
]
WebHost = Annotated[
    str, BeforeValidator(parse_web_host), WithJsonSchema({"type": "string", "minLength": 1})
]
Method = Annotated[str, BeforeValidator(parse_method), _pattern(METHOD_PATTERN)]
PathPrefix = Annotated[str, BeforeValidator(parse_path_prefix), _pattern("^/")]
HeaderName = Annotated[str, BeforeValidator(parse_header_name), _pattern(HEADER_PATTERN)]
ProxyUrl = Annotated[str, BeforeValidator(parse_proxy_url), _pattern("^https?://")]
RefPattern = Annotated[str, BeforeValidator(parse_ref_pattern), _pattern("^refs/")]
RemoteName = Annotated[str, BeforeValidator(parse_remote_name), _pattern(REMOTE_NAME_PATTERN)]


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


def _switch(value: object) -> object:
    """Return the table that `true` stands for, and None for `false`."""
    if isinstance(value, bool):
        return {} if value else None
    return value


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
    """How the agent is run: `claude`, `codex`, `command`, or a kind that a plugin adds."""
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


class AllowTable(Table):
    """Requests that may leave a bottle."""

    host: WebHost
    """`docs.python.org`, `*.example.org`, or an address; with `:port`, or ports 80 and 443."""
    methods: tuple[Method, ...] = Field(default=(), strict=False)
    """Such as `GET`; else all."""
    paths: tuple[PathPrefix, ...] = Field(default=(), strict=False)
    """Prefixes, by whole segments, such as `/repos/acme/`; else all."""


class AuthTable(Table):
    """A credential that is put on outside of the bottle."""

    scheme: Literal["bearer", "basic", "header"] = "bearer"
    """`bearer`, `basic` (with `username`), or `header` (the token is `header`'s value)."""
    token_ref: EnvironmentName
    """The host's environment variable with the token, which never enters the bottle."""
    username: Name | None = None
    """For `basic`; the token is its password."""
    header: HeaderName | None = None
    """For `header`: which one."""

    @model_validator(mode="after")
    def _what_the_scheme_needs(self) -> AuthTable:
        for scheme, key in (("basic", "username"), ("header", "header")):
            if (self.scheme == scheme) != (getattr(self, key) is not None):
                message = f"must have `{key}` with scheme `{scheme}`, and only with it"
                raise ValueError(message)
        return self


class RouteTable(AllowTable):
    """Requests that may leave a bottle, and get a credential on their way."""

    auth: AuthTable
    """The credential; what the bottle sends in its place is taken off."""


Allow = Annotated[
    AllowTable, BeforeValidator(_table_with("host"), json_schema_input_type=Name | AllowTable)
]


class EgressTable(Table):
    """What a bottle may reach beside its model."""

    allow: tuple[Allow, ...] = Field(default=(), strict=False)
    """Through its HTTP(S) proxy: hosts (`docs.python.org`, `*.example.org`, `pypi.org:8443`), or
    tables with `host`, `methods` and `paths`."""
    routes: tuple[RouteTable, ...] = Field(default=(), strict=False)
    """Hosts that are reached with a credential of the host's."""
    dlp: bool = True
    """Whether what leaves is searched for secrets, encoded ones too."""
    mode: Literal["deny", "log"] = "deny"
    """`log` lets pass what `deny` refuses, and records the verdict."""
    upstream: ProxyUrl | None = None
    """A proxy that stands behind the bottle's, such as `http://proxy.example.org:3128`."""
    network: tuple[Destination, ...] = Field(default=(), strict=False)
    """Past the proxy, over any protocol, where the backend can enforce it: hosts, addresses,
    networks (`10.0.0.0/8`); no ports."""


class UserTable(Table):
    """Who the agent is for git."""

    name: Text
    """The author's name."""
    email: Text
    """The author's address."""


class RemoteTable(Table):
    """A repository behind the git gate."""

    url: Name | None = None
    """Where it is: an https or ssh URL, or a path on the host; else a bare repository of the
    test's own."""
    auth: AuthTable | None = None
    """What opens an https URL; it stays on the host."""
    allow_push: tuple[RefPattern, ...] = Field(default=("refs/heads/*",), strict=False)
    """Refs that may be pushed, such as `refs/heads/agent/*`."""


class GitTable(Table):
    """Git inside of a bottle."""

    user: UserTable | None = None
    """Who commits."""
    remotes: dict[RemoteName, RemoteTable] = {}
    """Repositories that `git clone`, `fetch` and `push` reach by their own URLs."""


class SuperviseTable(Table):
    """Whom the agent asks for what it was denied."""

    timeout: Duration = 60.0
    """How long a proposal waits for its answer."""
    on_timeout: Literal["reject", "approve"] = "reject"
    """What is answered when nobody did."""


Supervise = Annotated[
    SuperviseTable | None,
    BeforeValidator(_switch, json_schema_input_type=bool | SuperviseTable),
]


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
    budget: Budget | None = None
    """What the model may cost: US dollars, or text such as `20k tokens`; else without a bound."""
    golden: bool | None = None
    """Whether it is provisioned once for the run, and each test gets a branch of that; else where
    that is faster."""
    files: dict[GuestPath, File] = {}
    """Files and directories for the guest, by guest path; a relative one is below the workdir."""
    egress: EgressTable | None = None
    """What it may reach; without this table nothing but its model."""
    git: GitTable | None = None
    """Who commits, and which repositories it may fetch from and push to."""
    supervise: Supervise | None = None
    """Whether its agent can ask for what it was denied: true, or a table."""


class ManifestTable(Table):
    """The whole of `bottle.toml`, or of `[tool.bottle]` in pyproject.toml."""

    agents: dict[Name, AgentTable] = {}
    """Agents by name."""
    bottles: dict[Name, BottleTable] = {}
    """Bottles by name."""
