"""The plugin's state in one pytest process: its settings, its part in the run, its bottles.

Nothing heavy is imported before a bottle or a gate is asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import sys
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

import pytest

from pytest_bottle.errors import InfraError
from pytest_bottle.identity import identity_of
from pytest_bottle.options import Options

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_bottle.bottle import Bottle
    from pytest_bottle.engine import Engine
    from pytest_bottle.gateway.ledger import Totals
    from pytest_bottle.gateway.occasion import Occasion
    from pytest_bottle.lifecycle.lifecycle import Lifecycle
    from pytest_bottle.transcript.story import BottleStory

SESSION_KEY: Final = pytest.StashKey["BottleSession"]()

PROPERTY_PREFIX: Final = "bottle."
"""How the names of the plugin's own properties of a test begin."""

_SLUG_LENGTH: Final = 120


@dataclass(slots=True)
class Use:
    """One test's use of one bottle."""

    bottle: Bottle
    first_command: int
    """How many commands the bottle's log had before."""


@dataclass(slots=True)
class ItemState:
    """What one attempt at the running test has to do with bottles."""

    item: pytest.Item
    uses: list[Use] = field(default_factory=list)
    failed: bool = False
    ending: bool = False
    """Whether its fixtures are being torn down."""
    stories: dict[str, BottleStory] = field(default_factory=dict)
    """What happened in its bottles, gathered when its report was made."""


class BottleSession:
    """See the module."""

    def __init__(self, config: pytest.Config) -> None:
        """Read the settings.

        Raises:
            OptionError: one of them cannot be used.
        """
        self.config: Final = config
        self.options: Final = Options(config)
        self.identity: Final = identity_of(config)
        self.current: ItemState | None = None
        self.requests: list[pytest.FixtureRequest] = []
        """The fixtures being set up now, the innermost last."""
        self.makers: list[tuple[pytest.FixtureRequest, Bottle]] = []
        """The wide fixtures that made bottles, with their bottles."""
        self.broken: list[pytest.FixtureRequest] = []
        """The wide fixtures whose set-up ended in an infra error."""
        self.problems: list[str] = []
        """What could not be removed."""
        self.missing: list[str] = []
        """Capabilities that are required and missing."""
        self.kept: list[str] = []
        """Bottles that were left running, with how to enter them."""
        self.spent: Totals | None = None
        """What the models took in the whole run, once it has ended; None where there was none."""
        self.workers_started = False
        """Whether a worker of this process asked for a bottle or a capability."""
        self._engine: Engine | None = None

    @property
    def started(self) -> bool:
        """Whether this process asked for a bottle or a capability, and has not finished."""
        return self._engine is not None

    @property
    def engine(self) -> Engine:
        """What opens bottles, started when it is first asked for.

        Raises:
            StateDirectoryError: there is no safe place for the run's state.
        """
        if self._engine is None:
            from pytest_bottle.engine import Engine  # The others must not pay.

            self._engine = Engine(self.config, self.options, self.identity, self._report)
            self._engine.lifecycle.on_branch = self.adopt
        return self._engine

    @property
    def lifecycle(self) -> Lifecycle:
        """This process's lifecycle, started when it is first asked for."""
        return self.engine.lifecycle

    @property
    def answers(self) -> dict[str, Any]:
        """What probes have found out in this process; starts nothing."""
        return {} if self._engine is None else dict(self._engine.lifecycle.answers)

    def hear(self, plugin: object) -> None:
        """Take note of a plugin that has just been registered."""
        if self._engine is not None:
            self._engine.hear(plugin)

    def _report(self, line: str) -> None:
        """Show a line at once, past the capturing of output.

        On stderr, which xdist's workers share with the terminal; their stdout goes nowhere.
        """
        capture = self.config.pluginmanager.getplugin("capturemanager")
        shown = capture.global_and_fixture_disabled() if capture else contextlib.nullcontext()
        with shown:
            sys.stderr.write(f"\n[bottle {self.identity.worker}] {line}\n")
            sys.stderr.flush()

    # The running test

    def begin(self, item: pytest.Item) -> None:
        """Start one attempt at a test; what an earlier attempt left in its properties goes."""
        self.current = ItemState(item)
        item.user_properties[:] = [
            pair for pair in item.user_properties if not pair[0].startswith(PROPERTY_PREFIX)
        ]

    def evidence_directory(self, nodeid: str) -> Path | None:
        """Return where a test's evidence goes; None where nobody asked for any."""
        root: Path | None = self.options["artifacts"]
        return None if root is None else root / slug(nodeid)

    def use(self, bottle: Bottle) -> None:
        """Note that the running test uses a bottle."""
        state = self.current
        if state is None or any(use.bottle is bottle for use in state.uses):
            return
        bottle.begin(self._occasion(state))
        state.uses.append(Use(bottle, bottle.log.count))

    def adopt(self, bottle: Bottle) -> None:
        """Have a bottle that was just made end with the fixture or the test that asked for it."""
        state = self.current
        if state is None or state.ending:  # It ends with this process.
            return
        maker = self.requests[-1] if self.requests else None
        ends = maker.addfinalizer if maker else state.item.addfinalizer
        ends(lambda: self.release(bottle, failed=state.failed))
        if maker is not None and maker.scope != "function":
            self.makers.append((maker, bottle))
        self.use(bottle)

    def _occasion(self, state: ItemState) -> Occasion:
        from pytest_bottle.gateway.cassette import cassette_path
        from pytest_bottle.gateway.occasion import Occasion

        item = state.item
        number = len(state.uses)
        name = item.nodeid.partition("::")[2]
        return Occasion(
            test=item.nodeid,
            cassette=cassette_path(item.path, name, str(number + 1) if number else ""),
            evidence=self.evidence_directory(item.nodeid),
        )

    def keeps(self, bottle: Bottle, *, failed: bool) -> bool:
        """Tell whether a bottle is to be left running at the end of its scope."""
        if bottle.closed or bottle.lost or bottle.plan.shared:
            return False
        keep = self.options["keep"]
        return keep == "always" or (keep == "failed" and failed)

    def release(self, bottle: Bottle, *, failed: bool) -> None:
        """Let go of a bottle at the end of its scope: torn down, or kept for a person."""
        if self.keeps(bottle, failed=failed):
            self.lifecycle.keep(bottle)
            self.kept.append(f"{bottle.name}: enter it with `{bottle.connection()}`")
        bottle.close()

    def finish(self) -> None:
        """Tear down all that is left in this process; what resists is added to `problems`.

        Idempotent.
        """
        # A run is ended by its controller, also where only its workers had something to do.
        engine = self.engine if self.workers_started else self._engine
        self._engine, self.workers_started = None, False
        if engine is None:
            return
        steps = [engine.lifecycle.close]
        if self.identity.controller is None:
            self.spent = engine.lifecycle.spent
        if self.identity.controller is None:
            steps.append(engine.lifecycle.end_run)
        for step in steps:
            try:
                step()
            except (InfraError, OSError) as problem:
                self.problems.append(str(problem))


def slug(nodeid: str) -> str:
    """Return a node id as a file name: readable, and unique by a digest where it was cut."""
    plain = re.sub(r"[^A-Za-z0-9_.=-]+", "-", nodeid).strip("-.")
    if len(plain) <= _SLUG_LENGTH and plain == nodeid:
        return plain
    digest = hashlib.sha256(nodeid.encode(errors="surrogatepass")).hexdigest()
    return f"{plain[:_SLUG_LENGTH]}-{digest[:8]}"
