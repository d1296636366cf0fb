"""Gives an agent a task in its bottle, and makes a run of what comes of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.agents.base import ModelEndpoint
from pytest_bottle.agents.run import AgentRun
from pytest_bottle.backends.base import ExecRequest
from pytest_bottle.backends.base import ExecResult
from pytest_bottle.errors import BottleError
from pytest_bottle.errors import ExecTimeoutError
from pytest_bottle.gateway.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_bottle.agents.base import Agent
    from pytest_bottle.agents.run import ReadRun
    from pytest_bottle.backends.base import Guest
    from pytest_bottle.command_log import CommandLog
    from pytest_bottle.gateway.model import Model
    from pytest_bottle.plan import AgentPlan

STREAM_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of an agent's output that are read; what follows is left out."""

_RECORD_TIMEOUT: Final = 20.0
"""Seconds for reading what the agent recorded."""

_KILLED: Final = 137
"""What a shell returns for a process that was killed."""


class AgentTasks:
    """The tasks of one bottle's agent, one after the other."""

    def __init__(
        self,
        *,
        plan: AgentPlan,
        kind: Agent,
        guest: Guest,
        prompt_path: str | None,
        execute: Callable[[ExecRequest], ExecResult],
        look: Callable[[ExecRequest], ExecResult],
        write: Callable[[str, str], None],
        log: CommandLog,
    ) -> None:
        """Bind a bottle.

        Args:
            plan: The agent.
            kind: How it is run.
            guest: Where it is run.
            prompt_path: Guest path of the agent's own prompt; None where it has none.
            execute: Runs a command of the test in the bottle.
            look: Runs one of the plugin's own, which is in no record.
            write: Writes a text to a guest path.
            log: Keeps the raw output beside the record of commands.
        """
        self._plan = plan
        self._kind = kind
        self._guest = guest
        self._prompt_path = prompt_path
        self._execute = execute
        self._look = look
        self._write = write
        self._log = log
        self.runs: list[AgentRun] = []
        """All until now, those that ran out of time or budget too."""

    @property
    def uses_model(self) -> bool:
        """Whether the agent asks a model, and needs a door to it."""
        return self._kind.uses_model(self._plan)

    def environment(self, model: Model | None) -> dict[str, str]:
        """Return what the agent's process needs in its environment."""
        env = self._kind.env(self._plan, _endpoint(model), root=self._guest.uid == 0)
        return dict(env)

    def run(
        self,
        prompt: str,
        model: Model | None,
        *,
        timeout: float,
        max_turns: int | None = None,
        resume: str | None = None,
        misses: list[str] | None = None,
    ) -> AgentRun:
        """Give the agent a task, and wait for its end; see `Bottle.run_agent`."""
        argv = self._kind.argv(
            self._plan, prompt, prompt_path=self._prompt_path, max_turns=max_turns, resume=resume
        )
        files = self._kind.files(self._plan, _endpoint(model), self._guest.home)
        for path, text in files.items():
            self._write(path, text)
        watch = None if model is None else Watch(model)
        request = ExecRequest(
            argv=argv,
            input=self._kind.stdin(self._plan, prompt),
            env=self.environment(model),
            timeout=timeout,
            output_limit=STREAM_LIMIT,
            truncate=True,
            on_start=None if watch is None else watch.kill_with,
        )
        started = time.monotonic()
        problem: ExecTimeoutError | None = None
        try:
            result = self._execute(request)
        except ExecTimeoutError as error:
            problem = error
            result = _unfinished(error, time.monotonic() - started)
        killed = problem is not None or (watch is not None and watch.stopped)
        returncode = None if killed else result.returncode
        read = self._read(result, returncode)
        exchanges = watch.exchanges if watch else []
        run = AgentRun.of(
            read,
            agent=self._plan.name,
            kind=self._plan.kind,
            prompt=prompt,
            result=result,
            usage=watch.usage if watch and exchanges else None,
            cost=watch.cost if watch and exchanges else None,
            requests=[exchange.request for exchange in exchanges],
            misses=misses,
        )
        self.runs.append(run)
        for stream, text in (("out", result.stdout), ("err", result.stderr)):
            self._log.keep(f"agent-{len(self.runs)}.{stream}", text)
        if not run.success and watch is not None and (broken := watch.broken) is not None:
            raise broken from problem
        if problem is not None:
            raise problem
        if watch is not None:
            watch.check()
        return run

    def _read(self, result: ExecResult, returncode: int | None) -> ReadRun:
        """Return what the agent's output tells, and its own record where it keeps a fuller one."""
        streams = result.stdout_bytes, result.stderr_bytes
        read = self._kind.read(*streams, returncode)
        argv = self._kind.record_argv(read)
        if argv is None:
            return read
        request = ExecRequest(argv=argv, timeout=_RECORD_TIMEOUT, truncate=True)
        try:
            record = self._look(request).stdout_bytes
        except (BottleError, OSError):
            # What ended the task, or was read of it, counts; not that its record is gone.
            return read
        return self._kind.read(*streams, returncode, record)


def _endpoint(model: Model | None) -> ModelEndpoint | None:
    return None if model is None else ModelEndpoint(url=model.url, token=model.token)


def _unfinished(error: ExecTimeoutError, duration: float) -> ExecResult:
    """Return what there was until the time was up."""
    return ExecResult(
        argv=tuple(error.argv),
        returncode=_KILLED,
        stdout_bytes=error.stdout,
        stderr_bytes=error.stderr,
        duration=duration,
    )
