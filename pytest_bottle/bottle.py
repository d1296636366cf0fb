"""The handle that a test holds: a provisioned sandbox and its agent."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Final
from typing import Self

from pytest_bottle.agent_tasks import AgentTasks
from pytest_bottle.agents.claude import exec_claude_argv
from pytest_bottle.agents.run import AgentRun
from pytest_bottle.backends.base import Guarded
from pytest_bottle.errors import BottleClosedError
from pytest_bottle.errors import DoorError
from pytest_bottle.errors import ManifestError
from pytest_bottle.errors import MarkerError
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.gateway.egress.handle import Egress
from pytest_bottle.gateway.git.handle import Git
from pytest_bottle.gateway.occasion import Occasion
from pytest_bottle.gateway.supervise.handle import Supervise
from pytest_bottle.gateway.watch import unexpected
from pytest_bottle.guest_door import door_environment
from pytest_bottle.handle import SandboxHandle
from pytest_bottle.touches import below_workdir
from pytest_bottle.touches import touched
from pytest_bottle.touches import untouched

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping
    from collections.abc import Sequence
    from types import TracebackType

    from pytest_bottle.agents.base import Agent
    from pytest_bottle.backends.base import EgressDenial
    from pytest_bottle.backends.base import ExecResult
    from pytest_bottle.backends.base import Sandbox
    from pytest_bottle.changes import Change
    from pytest_bottle.command_log import CommandLog
    from pytest_bottle.findings import Finding
    from pytest_bottle.gateway.model import Model
    from pytest_bottle.gateway.open_gates import OpenGates
    from pytest_bottle.gateway.values import Exchange
    from pytest_bottle.plan import AgentPlan
    from pytest_bottle.plan import BottlePlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned:
    """What provisioning left behind for the handle."""

    baseline: bytes
    """A tar of the workdir as it was provisioned; empty where it was empty."""
    prompt_path: str | None
    """The prompt's guest path; None where the agent has none."""
    branched: bool = False
    """Whether the workdir is what another bottle had when this was branched from it."""


class Bottle(SandboxHandle):
    """One isolated sandbox, provisioned for its agent.

    Relative guest paths are below `workdir`. Methods may be called from several threads at once.
    """

    def __init__(
        self,
        *,
        plan: BottlePlan,
        wall: str,
        sandbox: Sandbox,
        provisioned: Provisioned,
        agent_kind: Agent | None,
        log: CommandLog,
        gates: OpenGates | None = None,
        open_model: Callable[[Bottle, Occasion], Model],
        on_branch: Callable[[Bottle], Bottle],
        on_close: Callable[[Bottle], None],
    ) -> None:
        """Not for callers: fixtures and `Lifecycle.open` make bottles."""
        super().__init__(
            plan=plan, wall=wall, sandbox=sandbox, baseline=provisioned.baseline, log=log
        )
        self._prompt_path = provisioned.prompt_path
        self.began: Final = "branched" if provisioned.branched else "provisioned"
        """What was done to it, in a word, when what `diff` compares with was as it is."""
        self._open_model = open_model
        self._on_branch = on_branch
        self._model: Model | None = None
        self._occasion = Occasion()
        self._gates = gates
        clients = {} if gates is None else gates.clients
        self.egress: Final = Egress(clients.get("egress"), self._network_denials)
        """What it may reach beside its model, and what it was refused."""
        self._git: Git | None = None
        if plan.door.git is not None and "git" in clients:
            self._git = Git(clients["git"], plan.door.git)
        self._supervise = Supervise(clients["supervise"]) if "supervise" in clients else None
        self._denials_before = 0
        """Denials of earlier tests, which come first in the sandbox's list."""
        if gates is not None:
            self._door_environment = door_environment(plan.door, gates.token, sandbox.guest.home)
            self.log.hide("door token", gates.token)
        self._heard = 0
        self._on_close = on_close
        self.misses: Final[list[str]] = []
        """What assertions looked for in vain, for the failure report."""
        self._tasks: AgentTasks | None = None
        if plan.agent is not None and agent_kind is not None:
            self._tasks = AgentTasks(
                plan=plan.agent,
                kind=agent_kind,
                guest=sandbox.guest,
                prompt_path=self._prompt_path,
                execute=self._execute,
                look=sandbox.exec,
                write=self.write_file,
                log=log,
            )

    def __repr__(self) -> str:
        """Return name and backend."""
        return f"<Bottle {self.name} ({self.backend})>"

    def __enter__(self) -> Self:
        """Return itself; leaving tears it down."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Tear it down."""
        self.close()

    @property
    def agent(self) -> AgentPlan | None:
        """The agent in it; None where the test named none."""
        return self.plan.agent

    def exec_claude(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> ExecResult:
        """Run `claude` with arguments of the test's own, and with the agent's prompt if it has one.

        `--append-system-prompt-file` is added for the prompt. Keywords and errors are `exec`'s.
        """
        argv = exec_claude_argv(args, prompt_path=self._prompt_path)
        own = {} if self._tasks is None else self._tasks.environment(self._model)
        return self.exec(argv, env={**own, **(env or {})}, timeout=timeout)

    @property
    def model(self) -> Model:
        """What answers its agent: `bottle.model.script(...)`, `bottle.model.requests`.

        Its door is opened when it is first asked for.

        Raises:
            MarkerError: several workers share the bottle.
            HostError: the sandbox cannot be reached by a door.
            InfraError: the door could not be started.
        """
        if self._model is None:
            self._model = self._open_model(self, self._occasion)
            # The agent has it in its environment, and may print that.
            self.log.hide("model token", self._model.token)
        return self._model

    @property
    def git(self) -> Git:
        """What its agent fetched and pushed: `bottle.git.pushed`, `bottle.git.seed(...)`.

        Raises:
            ManifestError: the bottle declares no remote.
        """
        if self._git is None:
            raise _undeclared(self, "git.remotes.<name>")
        return self._git

    @property
    def supervise(self) -> Supervise:
        """What its agent asks for: `bottle.supervise.expect("egress").approve()`.

        Raises:
            ManifestError: the bottle declares no supervisor.
        """
        if self._supervise is None:
            raise _undeclared(self, "supervise")
        return self._supervise

    def begin(self, occasion: Occasion) -> None:
        """Use it for another test: its runs, its model and its cassette are that test's."""
        if occasion == self._occasion:
            return
        self._end_model()
        # A bottle of one test has no denials of others; one that is lost is for its next command
        # to find out.
        if self._occasion != Occasion() or self.plan.shared:
            with contextlib.suppress(SandboxLostError):
                self._denials_before += len(self._network_denials())
            if self._gates is not None:
                self._gates.begin()
            if self._supervise is not None:
                self._supervise.begin()
        self._occasion = occasion
        self._heard = 0
        self.misses.clear()
        if self._tasks is not None:
            self._tasks.runs.clear()

    @property
    def runs(self) -> list[AgentRun]:
        """All that its agent did in this test, also what ran out of time."""
        return [] if self._tasks is None else list(self._tasks.runs)

    @property
    def exchanges(self) -> list[Exchange]:
        """What passed between its agent and the model in this test; opens no door for it."""
        try:
            return [] if self._model is None else self._model.exchanges
        except DoorError:
            return []

    @property
    def drift(self) -> list[str]:
        """How the cassette of this test differs from what its agent does; opens no door for it."""
        try:
            return [] if self._model is None else self._model.drift
        except DoorError:
            return []

    def run_agent(
        self,
        prompt: str,
        *,
        timeout: float | None = None,
        max_turns: int | None = None,
        resume: str | AgentRun | None = None,
    ) -> AgentRun:
        """Give the bottle's agent a task, and wait until it is done with it.

        How it ended is for the test to look at (`run.exit`, `run.check()`).

        Args:
            prompt: The task.
            timeout: Seconds; None is the bottle's own.
            max_turns: How often the model may answer; None sets no bound.
            resume: An earlier run, or a session, to go on with; None begins one.

        Raises:
            MarkerError: the bottle has no agent, or its kind cannot do what is asked for.
            UnexpectedRequestError: the agent asked the model what nobody has an answer to.
            BudgetExceededError: it had spent its budget, and was stopped.
            TimeoutError, SandboxLostError: see `exec`.
        """
        if self._tasks is None:
            raise MarkerError(
                f"bottle {self.name} has no agent.",
                remedy='Name one: @pytest.mark.bottle(agent="...").',
            )
        model = self.model if self._tasks.uses_model else self._model
        try:
            return self._tasks.run(
                prompt,
                model,
                timeout=self.plan.timeout if timeout is None else timeout,
                max_turns=max_turns,
                resume=resume.session if isinstance(resume, AgentRun) else resume,
                misses=self.misses,
            )
        finally:
            self._heard = 0 if model is None else len(model.problems)

    def check_door(self) -> None:
        """Raise what was wrong with its door, unless that was raised before.

        Raises:
            UnexpectedRequestError: nobody had an answer to a request to its model.
            DoorError: its proxy, or another part of its door, went away under the test.
            SuperviseError: an answer of the test's to its agent failed.
            UnmetExpectationError: its agent did not ask for what was expected.
        """
        if self._gates is not None:
            self._gates.check()
        if self._model is not None and (problems := self._model.problems[self._heard :]):
            self._heard += len(problems)
            raise unexpected(problems)
        if self._supervise is not None:
            self._supervise.check()

    def touched(self, path: str) -> Finding[Change]:
        """Look for changes at or below a path of the workdir since it was provisioned.

        `*`, `?` and `[...]` stand for what they do in a shell, and for `/` too. False where there
        are none; the failure report then shows what was touched instead.

        Raises:
            ValueError: the path is not below the workdir.
        """
        return touched(self.diff(), below_workdir(path, self.workdir), self.misses)

    def untouched(self, path: str) -> Finding[str]:
        """Tell whether nothing changed at or below a path of the workdir; see `touched`."""
        return untouched(self.diff(), below_workdir(path, self.workdir), self.misses)

    def branch(self) -> Bottle:
        """Return a second bottle that starts from this one's present state.

        It has the same agent, which can resume its sessions there, and a model and a record of its
        own. What it changes is not seen here, and the other way round; its `diff` and `touched`
        count from here. Processes that run are carried over only where the backend can. In a test
        it is torn down at the test's end, or earlier by `close` or by leaving a `with` statement.

        Raises:
            BranchUnsupportedError: the backend cannot do that.
            HostError: the host cannot do it.
            InfraError: it did not come up.
            SandboxLostError: this one went away.
            BottleClosedError: after teardown.
        """
        if self._closed:
            raise BottleClosedError(self.name)
        return self._on_branch(self)

    def close(self) -> None:
        """Tear it down. Idempotent.

        Raises:
            TeardownError: something of it could not be removed.
        """
        if not self._closed:
            self._end_model()
            if self._gates is not None:
                self._gates.close()
            self._closed = True
            self._on_close(self)

    def _network_denials(self) -> Sequence[EgressDenial]:
        """Return what a backend that bounds a network refused in this test."""
        if not self.plan.network or not isinstance(self.sandbox, Guarded):
            return ()
        return list(self.sandbox.denials())[self._denials_before :]

    def _end_model(self) -> None:
        if self._model is not None:
            with contextlib.suppress(DoorError):  # What it knew has been asked for, or is gone.
                self._model.close()
            self._model = None


def _undeclared(bottle: Bottle, key: str) -> ManifestError:
    remedy = f"Declare it in the bottle's table of the manifest: [bottles.<name>.{key}]."
    return ManifestError(f"bottle {bottle.name} has none.", file="", key=key, remedy=remedy)
