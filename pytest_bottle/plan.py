"""What will run: every name, path and limit of one bottle, resolved on the host.

A plan is data. Making one starts nothing; two equal specs make plans with the same digest, which is
how a wide scope knows that it can share a bottle.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_bottle.door_plan import DoorPlan

if TYPE_CHECKING:
    from pytest_bottle.usage import Budget

PROMPT_FILE_NAME = ".claude-bottle-prompt.txt"
"""The prompt's file name in the guest's home."""

SKILLS_DIRECTORY = ".claude/skills"
"""Where skills are put, below the guest's home, unless the kind of agent wants them elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Resource limits of one sandbox; None means that the backend sets none."""

    cpus: float | None = None
    memory: int | None = None
    """Bytes."""
    pids: int | None = None
    disk: int | None = None
    """Bytes that the guest may write, where the backend can bound it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlan:
    """The file system that a sandbox starts from.

    Exactly one of `reference` (an image name for the engine, or a directory for bubblewrap) and
    `dockerfile` is set.
    """

    reference: str | None = None
    dockerfile: Path | None = None
    build_args: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePlan:
    """One file or directory to put in the guest; a relative `guest` path is below the workdir."""

    guest: str
    source: Path | None = None
    """A host file or directory; None where `text` is given."""
    text: str | None = None
    mode: int | None = None
    """Permission bits of a file; None keeps the source's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillPlan:
    """One skill: the directory on the host, and its name in the guest."""

    name: str
    source: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServerPlan:
    """An MCP server that an agent is to know, served by streamable HTTP."""

    name: str
    url: str
    bearer_variable: str
    """The guest's environment variable that holds what it presents."""
    timeout: float = 120.0
    """Seconds that a call of its tools may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPlan:
    """One agent of the manifest, resolved."""

    name: str
    kind: str
    prompt: str = ""
    skills: tuple[SkillPlan, ...] = ()
    skills_dir: str = SKILLS_DIRECTORY
    """Below the guest user's home."""
    model: str | None = None
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    mcp_servers: tuple[McpServerPlan, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BottlePlan:
    """Everything a backend and the provisioners need for one bottle."""

    name: str
    """Unique on this host, in the form `bottle-<run>-<worker>-<number>`: a safe file, host and
    container name."""
    run_id: str
    worker: str
    """`main`, or the xdist worker's id."""
    backend: str
    state_dir: Path
    """Host-side directory of this bottle (mode 0700): prompt file, sockets."""
    image: ImagePlan | None = None
    """None asks for the backend's own default."""
    workdir: str = "/workspace"
    user: str | None = None
    """None asks for the image's own user."""
    env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    """Names of host environment variables whose values are kept out of the guest and of logs."""
    limits: Limits = Limits()
    timeout: float = 60.0
    """Seconds that a command may run where the test names no other time."""
    budget: Budget | None = None
    """What the model may cost in this bottle; None sets no bound."""
    network: tuple[str, ...] = ()
    """Hosts, `*.` patterns, addresses and networks that it reaches past its door; none is no
    network at all."""
    door: DoorPlan = field(default_factory=DoorPlan)
    """What it may use of its door, beside its model."""
    ca_file: Path | None = None
    """The certificate of the authority that signs for its proxy, on the host; None without a
    proxy. It is there when the sandbox is provisioned."""
    files: tuple[FilePlan, ...] = ()
    agent: AgentPlan | None = None
    golden: bool | None = None
    """Whether it starts from a bottle that was provisioned once for the run; None asks for what is
    faster on its backend."""
    shared: bool = False
    """Whether several processes attach to it (scope `run`)."""
    template: bool = False
    """Whether it is such a golden bottle: no test gets it, and once it is provisioned nothing runs
    in it."""
    branch_of: str | None = None
    """The bottle from whose state it starts, by name; None where it starts from its image."""

    @property
    def prompt_file(self) -> Path:
        """The host's copy of the agent's prompt, mode 0600."""
        return self.state_dir / "prompt.txt"

    @property
    def digest(self) -> str:
        """What the bottle is, less what names this one instance of it."""
        identity = dataclasses.replace(
            self,
            name="",
            run_id="",
            worker="",
            state_dir=Path(),
            ca_file=None,
            golden=None,
            shared=False,
            template=False,
            branch_of=None,
        )
        text = json.dumps(dataclasses.asdict(identity), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()
