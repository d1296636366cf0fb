"""What a backend and a sandbox promise to everything above them.

A backend checks a plan against the host, launches it, attaches to what is already running, and
removes the remains of what it made. A sandbox runs commands and stops; it knows no agent. Files
travel through commands (`cat`, `tar`), so that they obey the guest's own users and mounts.
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any
from typing import Protocol
from typing import runtime_checkable

from pytest_bottle.errors import CommandError
from pytest_bottle.state.resource import Resource

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from collections.abc import Mapping
    from collections.abc import Sequence
    from datetime import datetime

    from pytest_bottle.plan import BottlePlan

__all__ = [
    "FILE_LIMIT",
    "OUTPUT_LIMIT",
    "Backend",
    "Branching",
    "EgressDenial",
    "Enforcing",
    "ExecRequest",
    "ExecResult",
    "Guarded",
    "Guest",
    "Probe",
    "Resource",
    "Sandbox",
]

OUTPUT_LIMIT = 10 * 1024 * 1024
"""Bytes that a command may write to each of stdout and stderr (Inspect's limit)."""

FILE_LIMIT = 100 * 1024 * 1024
"""Bytes of a file that may be read from, or written to, a guest (Inspect's limit)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecRequest:
    """One command for a sandbox, complete: no default is left to the backend."""

    argv: tuple[str, ...]
    input: bytes | None = None
    """None connects stdin to /dev/null."""
    cwd: str | None = None
    """None is the plan's workdir; a relative path is below it."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the sandbox's own environment."""
    user: str | None = None
    """Name or uid; None is the sandbox's own user."""
    timeout: float = 60.0
    """Seconds until the command and all its children are killed."""
    output_limit: int = OUTPUT_LIMIT
    """Bytes for each stream."""
    truncate: bool = False
    """Keep the first `output_limit` bytes and go on, where False kills the command and raises."""
    on_start: Callable[[Callable[[], None]], None] | None = None
    """Called with what kills the command and its children, for another thread to call; the command
    then ends as one that was killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    """What a command did. A failed command is a result, not an exception.

    A command killed by signal n has the return code 128 + n; one that was not found has 127, one
    that may not be executed 126, as in a shell.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout_bytes: bytes
    stderr_bytes: bytes
    duration: float
    """Seconds, as seen from the host."""
    stdout_truncated: bool = False
    stderr_truncated: bool = False

    @property
    def success(self) -> bool:
        """Whether the return code is 0."""
        return self.returncode == 0

    @property
    def exit_code(self) -> int:
        """Another name for `returncode`."""
        return self.returncode

    @property
    def stdout(self) -> str:
        """Standard output as text; bytes that are not UTF-8 become U+FFFD."""
        return self.stdout_bytes.decode(errors="replace")

    @property
    def stderr(self) -> str:
        """Standard error as text; bytes that are not UTF-8 become U+FFFD."""
        return self.stderr_bytes.decode(errors="replace")

    def check(self) -> ExecResult:
        """Return self, or raise where the command failed.

        Raises:
            CommandError: with the command, its return code and the end of its output.
        """
        if self.success:
            return self
        tail = (self.stderr.strip() or self.stdout.strip())[-2000:]
        command = " ".join(self.argv)[:500]
        message = f"command failed with return code {self.returncode}: {command}\n{tail}"
        raise CommandError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """Facts about a launched sandbox that only it could tell."""

    user: str
    uid: int
    home: str
    workdir: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The answer of one capability probe."""

    ok: bool
    detail: str
    """What was seen: a version where it is there, the reason where it is not."""
    fix: str = ""
    """What the host's owner can do where it is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressDenial:
    """What a guest tried to reach, and was refused."""

    host: str
    """A name that it asked for, or an address."""
    port: int | None
    """None where it asked for the address of a name."""
    protocol: str
    """`tcp`, `udp` or `dns`; else what the engine calls it."""
    time: datetime
    """When, by the host's clock."""


def silence(_line: str) -> None:
    """Report nothing."""


@runtime_checkable
class Sandbox(Protocol):
    """A launched sandbox: commands in, results out, and an end."""

    @property
    def guest(self) -> Guest:
        """Its user, home and working directory."""
        ...

    @property
    def resources(self) -> Sequence[Resource]:
        """What is now known to exist on the host for it, beyond what was journalled before."""
        ...

    def exec(self, request: ExecRequest) -> ExecResult:
        """Run one command to its end. Safe to call from several threads at once.

        Raises:
            ExecTimeoutError: it ran out of time; nothing of it still runs in the guest.
            OutputLimitError: a stream passed its limit and `truncate` was not asked for.
            UserUnsupportedError: the sandbox cannot run commands as that user.
            FileNotFoundError, NotADirectoryError, PermissionError: for `cwd`.
            SandboxLostError: the sandbox or its engine went away.
        """
        ...

    def listen(self, port: int) -> socket.socket:
        """Return a TCP socket that listens on 127.0.0.1:`port` in the sandbox's own network.

        Who accepts on it, in this process or in one that it is passed to, serves the guest's
        connections to that port, and nothing else connects the two networks. Commands can connect
        as soon as this returns. Nothing of the sandbox keeps the socket: once its last holder
        closes it, connections are refused. Safe to call from several threads at once, and while
        commands run.

        Where a socket cannot leave the sandbox, as from an engine on another machine, the
        connections are carried to one that listens on this host. Other processes of the host can
        connect to that too, and once it is closed, the guest's connections stay unanswered.

        Args:
            port: 0 is any that is free. A sandbox without a network of its own gets a free one in
                any case: `getsockname` tells where the guest connects to.

        Raises:
            OSError: the port cannot be had; EADDRINUSE where the guest listens on it already.
            DoorUnreachableError: this host cannot get at the sandbox's network.
            SandboxLostError: the sandbox or its engine went away.
        """
        ...

    def connection(self, user: str | None = None) -> tuple[str, ...]:
        """Return a command line that attaches a person's shell, run on this host."""
        ...

    def reference(self) -> Mapping[str, Any]:
        """Return JSON values from which `Backend.attach` finds it again in another process."""
        ...

    def detach(self) -> None:
        """Let it outlive this process; from now on only `stop` or `Backend.remove` ends it."""
        ...

    def close(self) -> None:
        """Let go of it without ending it (only sensible once detached). Idempotent."""
        ...

    def stop(self) -> bool:
        """End it and remove all that it was; idempotent, quick, safe on a lost one.

        Returns:
            Whether all of it is gone; where not, its engine still removes it in the background,
            and `Backend.settle` waits for that.
        """
        ...


class Backend(Protocol):
    """One way to make sandboxes. Constructing one must be cheap and must not touch the host."""

    @property
    def name(self) -> str:
        """The name used in manifests and options."""
        ...

    @property
    def wall(self) -> str:
        """How strong the isolation is: `process sandbox`, `container`, `microVM`, `none`."""
        ...

    def probe(self) -> Probe:
        """Find out, for real, whether this host can launch a sandbox. Never raises."""
        ...

    def prepare(self, plan: BottlePlan, report: Callable[[str], None] = silence) -> None:
        """Check the plan against the host and make its image ready; start nothing.

        Images are made once per host: the caller holds the run's lock for the image meanwhile.

        Args:
            plan: What will be launched.
            report: Gets lines of progress while a person has to wait.

        Raises:
            CapabilityError, ImageError, ManifestError
        """
        ...

    def planned_resources(self, plan: BottlePlan) -> Sequence[Resource]:
        """Return what `launch` will create that can outlive this process; journalled before."""
        ...

    def launch(self, plan: BottlePlan) -> Sandbox:
        """Start the planned sandbox.

        Raises:
            LaunchError: it did not start; nothing of it remains.
        """
        ...

    def attach(self, plan: BottlePlan, reference: Mapping[str, Any]) -> Sandbox:
        """Connect to a detached sandbox that another process launched from an equal plan.

        Raises:
            SandboxLostError: it is no longer there.
        """
        ...

    def remove(self, resource: Resource) -> None:
        """Remove one journalled resource of this backend; absent already is fine.

        Raises:
            TeardownError: it is still there.
        """
        ...

    def orphans(self) -> Sequence[tuple[Resource, str]]:
        """Return resources found by label, each with its owner's identity (`Owner.encode`)."""
        ...

    def settle(self, deadline: float) -> None:
        """Wait at most `deadline` seconds until background removal has finished.

        Raises:
            TeardownError: naming what remains.
        """
        ...

    def shutdown(self) -> None:
        """Close what this backend holds open in this process (connections, brokers)."""
        ...


@runtime_checkable
class Branching(Protocol):
    """What a backend has, beside the methods of `Backend`, that can branch a running sandbox.

    Others do without: bottles are then provisioned anew, and `Bottle.branch` says that it cannot.
    """

    @property
    def golden(self) -> bool:
        """Whether bottles start from a golden one by default.

        Where that is faster than to provision each anew.
        """
        ...

    @property
    def branches_processes(self) -> bool:
        """Whether a branch also has the processes that run in its source."""
        ...

    def branch(self, plan: BottlePlan, reference: Mapping[str, Any]) -> Sandbox:
        """Start the planned sandbox from the present state of a running one, which goes on.

        All files are carried over as they are at one moment, with their owners and permissions;
        what is in `/dev/shm` and in sockets is not. The branch has a name, and whatever else tells
        one guest from another, of its own, and nothing that one of the two changes from then on is
        seen in the other. Either may end first, and a branch can be branched.

        `Backend.planned_resources` names all that this makes: `plan.branch_of` tells it that the
        plan is for a branch. A source whose plan says `template` is branched many times, by
        several processes at once; nothing runs in it.

        Args:
            plan: Of the branch: the source's, but for what names this one instance of it.
            reference: What `Sandbox.reference` of the source returned, perhaps in another process.

        Raises:
            BranchUnsupportedError: not this sandbox, or not on this host.
            LaunchError: it did not start; nothing of it remains.
            SandboxLostError: the source is gone.
        """
        ...


@runtime_checkable
class Enforcing(Protocol):
    """What a backend has, beside the methods of `Backend`, that gives bottles a bounded network.

    Plans with `network` come to no other: their author is told.
    """

    @property
    def enforces_egress(self) -> bool:
        """Whether a guest reaches what its plan's `network` names, and nothing else."""
        ...


@runtime_checkable
class Guarded(Protocol):
    """What a sandbox of such a backend has, beside the methods of `Sandbox`."""

    def denials(self) -> Sequence[EgressDenial]:
        """Return what the guest was refused since it was launched or branched, oldest first.

        Raises:
            SandboxLostError: the sandbox or its engine went away.
        """
        ...
