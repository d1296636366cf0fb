"""The one wrapper of the smolvm engine: a method for each verb, one place where argv is built.

The engine is a program that is run anew for each verb. What a verb fails with is a `SmolvmError`,
in the engine's own words; what a command in a guest fails with is its result.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle import process
from pytest_bottle.backends.smolmachines.failures import USAGE
from pytest_bottle.backends.smolmachines.failures import SmolvmError
from pytest_bottle.backends.smolmachines.failures import read_exec_failure
from pytest_bottle.backends.smolmachines.failures import read_failure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence
    from pathlib import Path

QUICK: Final = 60.0
"""Seconds for a verb that starts no guest."""

START: Final = 900.0
"""Seconds for one that does: the first start of an image unpacks it, which may take minutes."""

PACK: Final = 1800.0
"""Seconds for one that writes a whole image."""

EVENTS: Final = 100_000
"""How many of a machine's denials are asked for; the engine's own default is 200."""

NO_NAME: Final = "none.invalid"
"""A name that nothing has, by RFC 2606."""

RUNNING: Final = "running"

_USAGE_WORDS: Final = b"Usage: smolvm machine exec"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine as the engine lists it."""

    name: str
    state: str
    """`created`, `running`, `stopped`, or `unreachable` while it ends."""
    labels: Mapping[str, str]
    parent: str | None
    """What it is a branch of."""
    pid: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineConfig:
    """What a machine is created with."""

    name: str
    image: str | None = None
    """A registry reference, a `docker save` archive or a root file system's directory."""
    pack: str | None = None
    """A `.smolmachine`, instead of an image."""
    cpus: int | None = None
    memory: int | None = None
    """MiB."""
    storage: int | None = None
    """GiB."""
    user: str | None = None
    """Name or uid that commands run as; None is the image's own, which a pack has lost."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the image's own, which a pack has lost."""
    labels: Mapping[str, str] = field(default_factory=dict)
    allow_cidrs: Sequence[str] = ()
    """What the guest may reach; nothing, here and in `allow_names`, gives it no network at all."""
    allow_names: Sequence[str] = ()
    """Hosts, each alone, and `*.` with a host for all below it."""


@dataclass(frozen=True, slots=True)
class Smolvm:
    """An engine and the place of its state.

    Args:
        program: the engine.
        state_dir: where it keeps machines; None is the user's own place, as where the engine takes
            no other (macOS).
    """

    program: Path
    state_dir: Path | None = None

    def argv(self, *words: str) -> list[str]:
        """Return the command line of a verb of two words and its arguments."""
        noun, verb, *rest = words
        place = [] if self.state_dir is None else ["--state-dir", str(self.state_dir)]
        return [str(self.program), noun, verb, "--error-format", "json", *place, *rest]

    def exec_argv(
        self,
        name: str,
        command: Sequence[str],
        *,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
        workdir: str | None = None,
        interactive: bool = False,
        tty: bool = False,
    ) -> list[str]:
        """Return the command line that runs a command in a machine.

        Args:
            name: the machine's.
            command: program and arguments.
            user: name or uid; None is the machine's own, else the image's.
            env: variables to add.
            workdir: where it runs; None is the image's own place.
            interactive: whether it gets this side's stdin; else it has none.
            tty: whether it gets a terminal.
        """
        return self.argv(
            *("machine", "exec", "--name", name),
            *(("--user", user) if user is not None else ()),
            *(word for key, value in (env or {}).items() for word in ("--env", f"{key}={value}")),
            *(("--workdir", workdir) if workdir is not None else ()),
            *(("--interactive",) if interactive else ()),
            *(("--tty",) if tty else ()),
            *("--", *command),
        )

    def machine_create(self, config: MachineConfig) -> None:
        """Register a machine; nothing boots.

        Raises:
            SmolvmError: the name is taken, or the image is not there.
        """
        self._run(
            *("machine", "create", "--name", config.name),
            *_option("--image", config.image),
            *_option("--from", config.pack),
            *_option("--cpus", config.cpus),
            *_option("--mem", config.memory),
            *_option("--storage", config.storage),
            *_option("--user", config.user),
            *_pairs("--env", config.env),
            *_pairs("--label", config.labels),
            *_network(config),
            timeout=PACK,
        )

    def machine_start(self, name: str, *, branchable: bool = False) -> None:
        """Boot a machine; it answers commands a little later.

        Raises:
            SmolvmError: it did not boot.
        """
        flags = ("--branchable",) if branchable else ()
        self._run("machine", "start", "--name", name, *flags, timeout=START)

    def machine_exec(
        self,
        name: str,
        command: Sequence[str],
        *,
        user: str | None = None,
        input: bytes | None = None,  # noqa: A002 - the name that subprocess gave it
        timeout: float = QUICK,
    ) -> process.Completed:
        """Run one of our own commands in a machine to its end.

        Where the engine says that there is no such machine, or that it does not run, it is asked
        for the machine: the words may be a hostile guest's. A command that returns 1 with other
        words of the engine's as its last line on stderr still passes for a failure of it.

        Raises:
            SmolvmError: the engine did not run it.
        """
        argv = self.exec_argv(name, command, user=user, interactive=input is not None)
        done = self._complete(argv, input=input, timeout=timeout)
        if done.returncode == USAGE and _USAGE_WORDS in done.stderr:
            raise read_failure("machine exec", done.returncode, done.stderr)
        failure = read_exec_failure(done.returncode, done.stderr)
        if failure is not None and not self._is_refuted(failure, name):
            raise failure
        return done

    def _is_refuted(self, failure: SmolvmError, name: str) -> bool:
        """Whether a machine runs of which something else was said."""
        if not (failure.absent or failure.stopped):
            return False
        found = self.machine_status(name)
        return found is not None and found.state == RUNNING

    def machine_cp(self, source: str, target: str, *, mode: int | None = None) -> None:
        """Copy one file; the machine's side is `NAME:/path`.

        Raises:
            SmolvmError
        """
        permissions = () if mode is None else ("--mode", f"{mode:o}")
        self._run("machine", "cp", *permissions, source, target, timeout=PACK)

    def machine_branch(
        self, source: str, name: str, *, labels: Mapping[str, str] | None = None
    ) -> None:
        """Start a copy of a running machine, its memory and disks as they are now.

        It has the source's labels, as far as others are not given.

        Raises:
            SmolvmError: the source does not run, or was not started to be branched.
        """
        self._run(
            *("machine", "branch", "--from", source, "--name", name, "--branchable"),
            *_pairs("--label", labels or {}),
            timeout=START,
        )

    def machine_stop(self, name: str) -> None:
        """Stop a machine; one that is stopped already is fine.

        Raises:
            SmolvmError
        """
        self._run("machine", "stop", "--name", name, timeout=QUICK)

    def machine_delete(self, name: str, *, cascade: bool = False) -> bool:
        """Remove a machine, running or not; return whether it was there.

        Args:
            name: the machine's.
            cascade: whether its branches are removed as well, instead of forbidding it.

        Raises:
            SmolvmError
        """
        flags = ("--cascade",) if cascade else ()
        try:
            self._run("machine", "delete", "--force", "--name", name, *flags, timeout=QUICK)
        except SmolvmError as problem:
            if problem.absent:
                return False
            raise
        return True

    def machine_ls(self) -> list[Machine]:
        """Return all machines, while it unpacks an image also the engine's own for that.

        Raises:
            SmolvmError
        """
        found: list[dict[str, Any]] = self._json("machine", "ls", "--json")
        return [
            Machine(
                name=str(machine["name"]),
                state=str(machine["state"]),
                labels=dict(machine.get("labels") or {}),
                parent=machine.get("parent_machine"),
                pid=machine.get("pid"),
            )
            for machine in found
        ]

    def machine_status(self, name: str) -> Machine | None:
        """Return a machine; None where there is none of that name.

        Raises:
            SmolvmError
        """
        return next((machine for machine in self.machine_ls() if machine.name == name), None)

    def egress_events(self, name: str) -> list[dict[str, Any]]:
        """Return what a machine's network refused, oldest first, at most `EVENTS` of the newest.

        Nothing, too, where there is no such machine.

        Raises:
            SmolvmError
        """
        found: list[dict[str, Any]] = self._json(
            *("machine", "egress-events", "--name", name, "--limit", str(EVENTS), "--json")
        )
        return found

    def pack_create(
        self, target: Path, *, machine: str | None = None, image: str | None = None
    ) -> None:
        """Write `<target>.smolmachine` from a stopped machine, or from an image.

        Raises:
            SmolvmError
        """
        self._run(
            *("pack", "create", "--output", str(target)),
            *_option("--from-vm", machine),
            *_option("--image", image),
            timeout=PACK,
        )

    def _json(self, *words: str) -> Any:  # noqa: ANN401 - whatever the verb prints
        done = self._run(*words, timeout=QUICK)
        try:
            return json.loads(done.stdout)
        except ValueError as problem:
            said = done.stdout.decode(errors="replace")[:200]
            message = f"it printed no JSON: {said!r}"
            raise SmolvmError(" ".join(words[:2]), code="", message=message) from problem

    def _run(self, *words: str, timeout: float) -> process.Completed:
        done = self._complete(self.argv(*words), input=None, timeout=timeout)
        if done.returncode != 0:
            raise read_failure(" ".join(words[:2]), done.returncode, done.stderr)
        return done

    def _complete(
        self,
        argv: Sequence[str],
        *,
        input: bytes | None,  # noqa: A002
        timeout: float,
    ) -> process.Completed:
        verb = " ".join(argv[1:3])
        try:
            return process.run(argv, timeout=timeout, input=input)
        except TimeoutError as problem:
            message = f"no answer within {timeout:g} s"
            raise SmolvmError(verb, code="", message=message) from problem
        except OSError as problem:
            raise SmolvmError(verb, code="", message=str(problem)) from problem


def _option(flag: str, value: object) -> tuple[str, ...]:
    return () if value is None else (flag, str(value))


def _network(config: MachineConfig) -> list[str]:
    if not (config.allow_cidrs or config.allow_names):
        return []
    # `--allow-host` would allow all below a host too, and whatever address it has just now.
    # Without a name the engine answers for all, by way of the host's resolvers: a way out.
    names = config.allow_names or [NO_NAME]
    return [
        # The engine's other network enforces no list, so that it is not left to choose.
        *("--net-backend", "virtio-net"),
        *(word for cidr in config.allow_cidrs for word in ("--allow-cidr", cidr)),
        *(word for name in names for word in ("--allow-host-pattern", name)),
    ]


def _pairs(flag: str, values: Mapping[str, str]) -> list[str]:
    return [word for key, value in values.items() for word in (flag, f"{key}={value}")]
