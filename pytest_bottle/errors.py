"""Every exception of the plugin, sorted by who has to act.

::

    BottleError
    ├── AuthorError            the author of the test or of the manifest
    │   ├── ManifestError      bottle.toml or [tool.bottle]: file, key, remedy
    │   ├── MarkerError        @pytest.mark.bottle(...) or a factory call
    │   ├── OptionError        a command-line option, ini key or environment variable
    │   ├── BottleClosedError  a bottle that was used after its teardown
    │   ├── UnexpectedRequestError   an agent asked its model what the test has no answer for
    │   ├── CassetteError      recorded answers that are absent, or cannot be used
    │   ├── SuperviseError     an answer to an agent's proposal that cannot be given, or that failed
    │   ├── UserUnsupportedError   exec(user=...) that this sandbox cannot become
    │   └── UnsafePathError    a path or archive that leaves its root
    ├── HostError              the owner of the host
    │   ├── BranchUnsupportedError   a bottle that its backend, or this host, cannot branch
    │   ├── CapabilityError    a capability is missing: what was probed, seen, how to fix it
    │   ├── DoorUnreachableError   a sandbox's network that this host cannot get at
    │   ├── ImageError         an image that is absent, cannot be pulled or does not build
    │   ├── SlotTimeoutError   the host stayed full until the deadline
    │   └── StateDirectoryError    the directory of our state is not safe to use
    ├── AgentError             AgentRun.check() on a run that did not complete
    ├── BudgetExceededError    an agent that spent what its model may cost, and was stopped
    ├── CommandError           ExecResult.check() on a command that failed
    ├── ExecTimeoutError       a command ran out of time and was killed (also a TimeoutError)
    ├── UnmetExpectationError  an agent that did not ask for what its test expected
    ├── OutputLimitError       a stream or a file was larger than its limit
    └── InfraError             nobody: the sandbox or the engine failed under the test
        ├── UpstreamError      the real model API broke off in the middle of an answer
        ├── DoorError          the model door of the run did not start, or went away
        ├── LaunchError        the backend could not start a sandbox
        ├── ProcessStartError  a host process of ours ended before it was ready
        ├── RunEndedError      the run was taken down while something of it still worked
        ├── SandboxLostError   a running sandbox or its engine went away
        └── TeardownError      remains that could not be removed within the deadline
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class BottleError(Exception):
    """Root of all errors raised by pytest-bottle."""


class AuthorError(BottleError):
    """The author of the test or of the manifest has to change something."""


class ManifestError(AuthorError):
    """A manifest is wrong; says in which file, at which key, and what to do."""

    def __init__(self, problem: str, *, file: str, key: str = "", remedy: str = "") -> None:
        """Build the sentence from its parts."""
        self.problem = problem
        self.file = file
        self.key = key
        self.remedy = remedy
        where = f"{file}: {key}" if key else file
        super().__init__(f"{where}: {problem}" + (f" {remedy}" if remedy else ""))


class MarkerError(AuthorError):
    """A marker's or a factory's arguments are wrong; names the node where it knows it."""

    def __init__(self, problem: str, *, node: str = "", remedy: str = "") -> None:
        """Build the sentence from its parts."""
        self.problem = problem
        self.node = node
        self.remedy = remedy
        where = f"{node}: " if node else ""
        super().__init__(f"{where}{problem}" + (f" {remedy}" if remedy else ""))


class OptionError(AuthorError):
    """A setting is wrong; names the option and where its value came from."""

    def __init__(self, problem: str, *, option: str, source: str, remedy: str = "") -> None:
        """Build the sentence from its parts."""
        self.option = option
        self.source = source
        super().__init__(f"{option} (from {source}): {problem}" + (f" {remedy}" if remedy else ""))


class BottleClosedError(AuthorError):
    """A bottle was used after its teardown."""

    def __init__(self, name: str) -> None:
        """Build the sentence from its parts."""
        super().__init__(
            f"bottle {name} was torn down already. Keep no bottle longer than the fixture that "
            "made it, or ask for a wider scope."
        )


class UnexpectedRequestError(AuthorError):
    """An agent asked its model for what the test's script or cassette has no answer to."""

    def __init__(self, problem: str, *, remedy: str = "", detail: str = "") -> None:
        """Build the sentence from its parts; `detail` shows the request."""
        self.problem = problem
        self.remedy = remedy
        self.detail = detail
        super().__init__(
            problem + (f" {remedy}" if remedy else "") + (f"\n{detail}" if detail else "")
        )


class CassetteError(AuthorError):
    """A cassette is absent or cannot be used; says which, why, and how to record it anew."""

    def __init__(self, problem: str, *, file: str, test: str = "") -> None:
        """Build the sentence from its parts; `test` is the id of the test that it belongs to."""
        self.problem = problem
        self.file = file
        what = f" {shlex.quote(test)}" if test else " <the test>"
        super().__init__(f"{file}: {problem} Record it anew: pytest --bottle-model=record{what}")


class SuperviseError(AuthorError):
    """A proposal of an agent cannot be answered so, or the test's answer to it failed."""

    def __init__(self, proposal: str, *, reason: str) -> None:
        """Build the sentence from its parts; `proposal` is its id, or what it asks for."""
        self.proposal = proposal
        self.reason = reason
        super().__init__(f"proposal {proposal} cannot be answered so: {reason}")


class UserUnsupportedError(AuthorError):
    """The sandbox cannot run a command as the user that was asked for."""

    def __init__(self, user: str, *, reason: str) -> None:
        """Build the sentence from its parts."""
        self.user = user
        super().__init__(f"cannot run a command as user {user!r}: {reason}")


class UnsafePathError(AuthorError):
    """A path, or a member of a guest's archive, would leave the directory it belongs to."""

    def __init__(self, path: str, *, reason: str) -> None:
        """Build the sentence from its parts."""
        self.path = path
        super().__init__(f"refused {path!r}: {reason}")


class HostError(BottleError):
    """The owner of the host has to change something."""


class CapabilityError(HostError):
    """A capability is missing: what was probed, what was seen, how to fix it."""

    def __init__(self, name: str, *, reason: str, fix: str = "") -> None:
        """Build the sentence from its parts."""
        self.name = name
        self.reason = reason
        self.fix = fix
        super().__init__(f"{name}: {reason}" + (f" Fix: {fix}" if fix else ""))


class BranchUnsupportedError(HostError):
    """A bottle cannot be started from the state of another one."""

    def __init__(self, backend: str, *, reason: str, remedy: str) -> None:
        """Build the sentence from its parts."""
        self.backend = backend
        self.reason = reason
        super().__init__(f"{backend} cannot branch this bottle: {reason} {remedy}")


class DoorUnreachableError(HostError):
    """This host cannot get at a sandbox's network, so nothing here can serve the guest."""

    def __init__(self, sandbox: str, *, reason: str, remedy: str) -> None:
        """Build the sentence from its parts."""
        self.sandbox = sandbox
        super().__init__(f"no door can be opened in {sandbox}: {reason} {remedy}")


class ImageError(HostError):
    """An image is absent and cannot be pulled, or its build failed."""

    def __init__(self, image: str, *, reason: str, remedy: str) -> None:
        """Build the sentence from its parts."""
        self.image = image
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"image {image!r}: {reason} {remedy}")


class SlotTimeoutError(HostError):
    """No slot became free before the deadline."""

    def __init__(self, *, waited: float, capacity: int, holders: Sequence[str]) -> None:
        """Build the sentence from its parts; `waited` is in seconds."""
        self.waited = waited
        self.capacity = capacity
        super().__init__(
            f"no free slot after {waited:.0f} s: all {capacity} slots of this host are held by "
            f"{', '.join(holders) or 'nobody known'}. End those runs (`pytest-bottle ps` lists "
            "them), or raise --bottle-slots."
        )


class StateDirectoryError(HostError):
    """The directory that holds our state belongs to somebody else, or is not a directory."""

    def __init__(self, path: str, *, reason: str) -> None:
        """Build the sentence from its parts."""
        self.path = path
        super().__init__(
            f"refused to keep state in {path}: {reason} Remove it, or set BOTTLE_STATE_DIR to a "
            "directory of your own."
        )


class AgentError(BottleError):
    """An agent that was expected to finish its task did not; the message holds its last words."""


class BudgetExceededError(BottleError):
    """An agent had spent what its model may cost, and asked for more."""

    def __init__(self, *, whose: str, spent: str, budget: str) -> None:
        """Build the sentence from its parts.

        Args:
            whose: the budget: `bottle <name>`, or `run`.
            spent: how much, with its unit.
            budget: how much was allowed, with its unit.
        """
        self.whose = whose
        self.spent = spent
        self.budget = budget
        super().__init__(
            f"the budget of the {whose} is used up: {spent} spent of {budget}. The agent was "
            "stopped. Raise the budget, or look at the requests for what it kept asking."
        )


class CommandError(BottleError):
    """A command that was expected to succeed did not; the message holds its output's end."""


class UnmetExpectationError(BottleError, AssertionError):
    """An agent did not ask its supervisor for what its test expected it to."""

    def __init__(self, unmet: Sequence[str], *, asked: Sequence[str]) -> None:
        """Build the sentence from its parts: what was expected, and what was asked."""
        self.unmet = tuple(unmet)
        lines = [
            "the agent did not ask for what was expected:",
            *(f"  {line}" for line in unmet),
            "It asked for:" if asked else "It asked for nothing.",
            *(f"  {line}" for line in asked),
        ]
        super().__init__("\n".join(lines))


class ExecTimeoutError(BottleError, TimeoutError):
    """A command ran out of time; it and its children were killed in the guest.

    `stdout` and `stderr` hold what it had written until then.
    """

    def __init__(
        self, argv: Sequence[str], *, timeout: float, stdout: bytes = b"", stderr: bytes = b""
    ) -> None:
        """Build the sentence from its parts; `timeout` is in seconds."""
        self.argv = tuple(argv)
        self.timeout = timeout
        self.stdout = stdout
        self.stderr = stderr
        super().__init__(
            f"timed out after {timeout:g} s and was killed with its children: "
            f"{' '.join(self.argv)[:200]}"
        )


class OutputLimitError(BottleError):
    """A stream or a file was larger than its limit; the writer was stopped."""

    def __init__(self, what: str, *, limit: int, remedy: str) -> None:
        """Build the sentence from its parts; `limit` is in bytes."""
        self.what = what
        self.limit = limit
        super().__init__(f"{what} is larger than its limit of {limit} bytes. {remedy}")


class InfraError(BottleError):
    """The sandbox or its engine failed; neither the test nor the agent is to blame."""


class DoorError(InfraError):
    """The process through which bottles reach their models did not start, or went away."""

    def __init__(self, problem: str, *, log: str = "") -> None:
        """Build the sentence from its parts; `log` is the end of what the process wrote."""
        super().__init__(f"the model door {problem}" + (f"\n{log.strip()}" if log.strip() else ""))


class LaunchError(InfraError):
    """A backend could not start a sandbox that was planned correctly."""


class ProcessStartError(InfraError):
    """A host process of ours ended, or stayed silent, before it was ready."""

    def __init__(self, argv: Sequence[str], *, reason: str, log: str = "") -> None:
        """Build the sentence from its parts; `log` is the end of what it wrote."""
        self.argv = tuple(argv)
        super().__init__(
            f"a host process {reason}: {' '.join(self.argv)[:200]}"
            + (f"\n{log.strip()}" if log.strip() else "")
        )


class RunEndedError(InfraError):
    """The run's state was removed while a process of it still worked."""

    def __init__(self, directory: str) -> None:
        """Build the sentence from its parts."""
        super().__init__(
            f"the run's state in {directory} has been removed: its controller ended, or somebody "
            "reaped it. Nothing more is started, because nothing would take it down."
        )


class UpstreamError(InfraError):
    """The real model API could not be reached, or broke off in the middle of an answer."""

    def __init__(self, host: str, *, reason: str, reached: bool = True) -> None:
        """Build the sentence from its parts; `reached` tells whether there was an answer."""
        self.host = host
        what = f"the answer of {host} broke off" if reached else f"{host} cannot be reached"
        super().__init__(f"{what}: {reason}")


class SandboxLostError(InfraError):
    """A running sandbox, or the engine that runs it, went away."""


class TeardownError(InfraError):
    """Something of ours could not be removed before the deadline."""


class RecordsWarning(UserWarning):
    """What a bottle did is known to its test, and could not be written down."""
