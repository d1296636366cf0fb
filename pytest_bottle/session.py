"""The plugin's state in one pytest process: its settings, its part in the run, its bottles.

Nothing heavy is imported before a bottle or a gate is asked for.
"""

from __future__ import annotations

import functools
import re
import uuid
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

import pytest

from pytest_bottle.errors import MarkerError
from pytest_bottle.options import ALL
from pytest_bottle.options import AUTO
from pytest_bottle.options import Options

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_bottle.bottle import Bottle
    from pytest_bottle.lifecycle.lifecycle import Lifecycle
    from pytest_bottle.lifecycle.spec import Spec
    from pytest_bottle.manifest import Manifest

SESSION_KEY: Final = pytest.StashKey["BottleSession"]()
MARKER: Final = "bottle"
_SLUG_LENGTH: Final = 120


@dataclass(slots=True)
class Use:
    """One test's use of one bottle."""

    bottle: Bottle
    first_command: int
    """How many commands the bottle's log had before."""


@dataclass(slots=True)
class RunIdentity:
    """The run that this process belongs to."""

    run_id: str
    worker: str
    controller: str | None
    """The controlling process, encoded; None where it is this one."""


@dataclass(slots=True)
class ItemState:
    """What the running test has to do with bottles."""

    item: pytest.Item
    uses: list[Use] = field(default_factory=list)
    failed: bool = False


class BottleSession:
    """See the module."""

    def __init__(self, config: pytest.Config) -> None:
        """Read the settings.

        Raises:
            OptionError: one of them cannot be used.
        """
        self.config: Final = config
        self.options: Final = Options(config)
        self.identity: Final = _identity(config)
        self.current: ItemState | None = None
        self.requests: list[pytest.FixtureRequest] = []
        """The fixtures being set up now, the innermost last."""
        self.problems: list[str] = []
        """What could not be removed."""
        self.missing: list[str] = []
        """Capabilities that are required and missing."""
        self._lifecycle: Lifecycle | None = None
        self._manifests: dict[Path | None, Manifest] = {}

    @property
    def started(self) -> bool:
        """Whether anything asked for a bottle or a capability."""
        return self._lifecycle is not None

    @property
    def lifecycle(self) -> Lifecycle:
        """This process's lifecycle, made when it is first asked for."""
        if self._lifecycle is None:
            # Imported here: a suite without bottles must not pay for them.
            from pytest_bottle.lifecycle.lifecycle import Lifecycle
            from pytest_bottle.lifecycle.settings import Settings
            from pytest_bottle.state.owner import Owner
            from pytest_bottle.state.run import Run

            identity = self.identity
            controller = (
                Owner.decode(identity.controller) if identity.controller else Owner.current()
            )
            run = Run.join(identity.run_id, identity.worker, controller)
            backends = self.options["backend"]
            settings = Settings(
                backend=backends[0] if len(backends) == 1 and ALL not in backends else AUTO,
                slots=self.options["slots"],
                timeout=self.options["timeout"],
                report=self._report,
            )
            self._lifecycle = Lifecycle(run, settings, self._extensions())
        return self._lifecycle

    def _extensions(self) -> Any:  # noqa: ANN401 - imported late
        from pytest_bottle.lifecycle.extensions import Extensions

        extensions = Extensions()
        hook = self.config.hook
        extensions.add(
            backends=[b for some in hook.pytest_bottle_backends(config=self.config) for b in some],
            agents=[a for some in hook.pytest_bottle_agents(config=self.config) for a in some],
            provisioners=[
                p for some in hook.pytest_bottle_provisioners(config=self.config) for p in some
            ],
            capabilities=[
                pair
                for some in hook.pytest_bottle_capabilities(config=self.config)
                for pair in some.items()
            ],
        )
        return extensions

    def _report(self, line: str) -> None:
        """Show a line at once, past the capturing of output; workers share the terminal."""
        capture = self.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            print(f"\n[bottle {self.identity.worker}] {line}", flush=True)  # noqa: T201

    # Specs and manifests

    def manifest_for(self, path: Path) -> Manifest:
        """Return the manifest for a test file: the setting's, else the nearest one above it."""
        from pytest_bottle.manifest import EMPTY
        from pytest_bottle.manifest import find_manifest
        from pytest_bottle.manifest import load_manifest

        chosen = self.options["manifest"]
        found = chosen if chosen is not None else _nearest(path.parent, self.config, find_manifest)
        if found not in self._manifests:
            self._manifests[found] = EMPTY if found is None else load_manifest(found)
        return self._manifests[found]

    def spec_for(self, node: pytest.Item, backend: str | None = None) -> Spec:
        """Return what a test's markers ask for; a nearer marker's arguments win.

        Raises:
            MarkerError: naming the test.
        """
        from pytest_bottle.lifecycle.spec import spec_from_arguments

        arguments = marker_arguments(node)
        if isinstance(arguments.get("backend"), list | tuple) or arguments.get("backend") is None:
            arguments["backend"] = backend
        return spec_from_arguments(node.nodeid, **arguments)

    def check(self, node: pytest.Item) -> None:
        """Check a test's markers as far as that starts nothing.

        Raises:
            AuthorError: the marker or the manifest is wrong.
        """
        from pytest_bottle.lifecycle.prepare import requested_backend

        spec = self.spec_for(node)
        requested_backend(spec, self.manifest_for(node.path))

    def backends_for(self, node: pytest.Item) -> tuple[str, ...]:
        """Return the backends that a test is to run on: several are a matrix."""
        named = marker_arguments(node).get("backend")
        if isinstance(named, str):
            return (named,)
        wanted = tuple(named) if named else self.options["backend"]
        if ALL in wanted:
            return self.lifecycle.extensions.backend_names
        return wanted

    # The running test

    def evidence_directory(self, nodeid: str) -> Path | None:
        """Return where a test's evidence goes; None where nobody asked for any."""
        root = self.options["artifacts"]
        return None if root is None else root / slug(nodeid)

    def use(self, bottle: Bottle) -> None:
        """Note that the running test uses a bottle."""
        if self.current is not None and all(u.bottle is not bottle for u in self.current.uses):
            self.current.uses.append(Use(bottle, bottle.log.count))

    def release(self, bottle: Bottle, *, failed: bool) -> None:
        """Let go of a bottle at the end of its scope: torn down, or kept for a person."""
        keep = self.options["keep"]
        if not bottle.closed and (keep == "always" or (keep == "failed" and failed)):
            self.lifecycle.keep(bottle)
        bottle.close()

    def finish(self) -> None:
        """Tear down all that is left in this process; what resists is added to `problems`."""
        from pytest_bottle.errors import TeardownError

        if self._lifecycle is None:
            return
        try:
            self._lifecycle.close()
        except TeardownError as problem:
            self.problems.append(str(problem))
        if self.identity.controller is None:
            self._lifecycle.end_run()


def marker_arguments(node: pytest.Item) -> dict[str, Any]:
    """Return the merged keyword arguments of a test's `bottle` markers.

    Raises:
        MarkerError: one has positional arguments.
    """
    arguments: dict[str, Any] = {}
    for marker in reversed(list(node.iter_markers(MARKER))):
        if marker.args:
            raise MarkerError(
                f"@pytest.mark.bottle takes keywords only, not {marker.args!r}.",
                node=node.nodeid,
                remedy='Write @pytest.mark.bottle(agent="...").',
            )
        arguments.update(marker.kwargs)
    return arguments


def slug(nodeid: str) -> str:
    """Return a node id as a file name: readable, and unique by a digest where it was cut."""
    plain = re.sub(r"[^A-Za-z0-9_.=-]+", "-", nodeid).strip("-.")
    if len(plain) <= _SLUG_LENGTH and plain == nodeid:
        return plain
    return f"{plain[:_SLUG_LENGTH]}-{uuid.uuid5(uuid.NAMESPACE_OID, nodeid).hex[:8]}"


def _identity(config: pytest.Config) -> RunIdentity:
    given: Mapping[str, Any] | None = getattr(config, "workerinput", None)
    if given is not None and "bottle_run" in given:
        return RunIdentity(given["bottle_run"], given["workerid"], given["bottle_controller"])
    return RunIdentity(uuid.uuid4().hex[:16], "main", None)


def _nearest(directory: Path, config: pytest.Config, find: Any) -> Path | None:  # noqa: ANN401
    return _cached_search(directory, config.rootpath, find)


@functools.lru_cache(maxsize=1024)
def _cached_search(directory: Path, root: Path, find: Any) -> Path | None:  # noqa: ANN401
    found: Path | None = find(directory, root)
    return found
