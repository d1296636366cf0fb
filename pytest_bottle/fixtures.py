"""What a test receives: bottles, by scope, and what they are made from."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

import pytest

from pytest_bottle.errors import MarkerError
from pytest_bottle.session import SESSION_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_bottle.bottle import Bottle
    from pytest_bottle.lifecycle.spec import Spec
    from pytest_bottle.manifest import Manifest
    from pytest_bottle.session import BottleSession

MATRIX: Final = "_bottle_matrix"
"""The fixture that a matrix of backends parametrizes."""


class Shelf:
    """The bottles of one wide scope: one for each different spec, replaced when it was lost."""

    def __init__(self, session: BottleSession, scope: str) -> None:
        """Start empty."""
        self._session = session
        self._scope = scope
        self._bottles: dict[tuple[Spec, int], Bottle] = {}
        self.failed: set[str] = set()
        """Names of the bottles that a failed test has used."""

    def take(self, spec: Spec, manifest: Manifest) -> Bottle:
        """Return the scope's bottle for a spec, launched now if it is the first to ask."""
        key = (spec, id(manifest))
        known = self._bottles.get(key)
        if known is not None and not known.lost and not known.closed:
            return known
        lifecycle = self._session.lifecycle
        if known is not None:
            known.close()
        evidence = self._session.evidence_directory(f"scope-{self._scope}")
        launch = lifecycle.share if self._scope == "run" else lifecycle.open
        self._bottles[key] = launch(spec, manifest, evidence=evidence)
        return self._bottles[key]

    def close(self) -> None:
        """Let go of all of them."""
        with ExitStack() as stack:
            for bottle in self._bottles.values():
                stack.callback(self._session.release, bottle, failed=bottle.name in self.failed)


class BottleFactory:
    """Makes bottles on request; each lives as long as the test or fixture that asked for it."""

    def __init__(self, session: BottleSession) -> None:
        """Bind the plugin's state."""
        self._session = session

    def __call__(self, **arguments: Any) -> Bottle:  # noqa: ANN401 - checked by their names
        """Return a new bottle.

        Args:
            arguments: Those of `@pytest.mark.bottle`, less `scope`. Called in a fixture, the bottle
                is torn down with that fixture; called in a test, at the test's end. It can also be
                closed earlier, or used in a `with` statement. `manifest`, a path, names another
                manifest than the test's.

        Raises:
            AuthorError: an argument is wrong.
            HostError: the host cannot do it.
            InfraError: it did not come up.
        """
        from pytest_bottle.lifecycle.spec import spec_from_arguments

        session = self._session
        state = session.current
        if state is None or state.ending:
            problem = "bottle_factory(...) was called when the test had ended."
            remedy = "Call it in the test, or before the `yield` of a fixture."
            node = state.item.nodeid if state else ""
            raise MarkerError(problem, node=node, remedy=remedy)
        item = state.item
        where = f"{item.nodeid}: bottle_factory(...)"
        if "scope" in arguments:
            problem = "scope= is not for bottle_factory."
            remedy = "The bottle lives as long as the fixture that asks for it."
            raise MarkerError(problem, node=where, remedy=remedy)
        manifest = arguments.pop("manifest", None)
        arguments.setdefault("backend", parametrized_backend(item))
        spec = spec_from_arguments(where, **arguments)
        engine = session.engine
        bottle = session.lifecycle.open(
            spec,
            engine.manifest_at(Path(manifest)) if manifest else engine.manifest_for(item.path),
            evidence=session.evidence_directory(item.nodeid),
        )
        session.adopt(bottle)
        return bottle


def parametrized_backend(item: pytest.Item) -> str | None:
    """Return the backend that a test was parametrized with, by a matrix or by its author."""
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return None
    chosen: str | None = callspec.params.get("bottle_backend", callspec.params.get(MATRIX))
    return chosen


@pytest.fixture(scope="session")
def _bottle_matrix(request: pytest.FixtureRequest) -> str | None:
    """The backend of this round of the matrix; None where there is no matrix.

    Of session scope, so that wide fixtures with bottles in them are made anew for each backend.
    """
    return getattr(request, "param", None)


@pytest.fixture
def bottle_backend(request: pytest.FixtureRequest, _bottle_matrix: str | None) -> str:
    """The name of the backend that this test's bottle runs on."""
    session: BottleSession = request.config.stash[SESSION_KEY]
    chosen: str | None = getattr(request, "param", _bottle_matrix)
    return session.engine.backend_for(request.node) if chosen is None else chosen


@pytest.fixture
def bottle_manifest(request: pytest.FixtureRequest) -> Manifest:
    """The manifest that applies to this test; an empty one where there is none."""
    session: BottleSession = request.config.stash[SESSION_KEY]
    return session.engine.manifest_for(request.node.path)


@pytest.fixture
def bottle(
    request: pytest.FixtureRequest, bottle_backend: str, bottle_manifest: Manifest
) -> Iterator[Bottle]:
    """An isolated sandbox, provisioned as `@pytest.mark.bottle(...)` asks, torn down afterwards."""
    session: BottleSession = request.config.stash[SESSION_KEY]
    spec = session.engine.spec_for(request.node, bottle_backend)
    scope = spec.scope or session.options["scope"]
    state = session.current
    if scope == "function":
        evidence = session.evidence_directory(request.node.nodeid)
        made = session.lifecycle.open(spec, bottle_manifest, evidence=evidence)
        session.use(made)
        yield made
        session.release(made, failed=state is not None and state.failed)
        return
    shelf: Shelf = request.getfixturevalue(f"_bottle_shelf_{scope}")
    made = shelf.take(spec, bottle_manifest)
    session.use(made)
    yield made
    if state is not None and state.failed:
        shelf.failed.add(made.name)


@pytest.fixture(scope="session")
def bottle_factory(
    request: pytest.FixtureRequest,
    _bottle_matrix: str | None,  # For its scope: see there.
) -> BottleFactory:
    """Make further bottles: `bottle_factory(agent=..., backend=..., ...)`.

    Each is torn down with the test or fixture that asked for it, so session fixtures can use it.
    """
    return BottleFactory(request.config.stash[SESSION_KEY])


def _shelf(request: pytest.FixtureRequest, scope: str) -> Iterator[Shelf]:
    shelf = Shelf(request.config.stash[SESSION_KEY], scope)
    yield shelf
    shelf.close()


@pytest.fixture(scope="class")
def _bottle_shelf_class(request: pytest.FixtureRequest) -> Iterator[Shelf]:
    """Hold this class's shared bottles; for `scope="class"`."""
    yield from _shelf(request, "class")


@pytest.fixture(scope="module")
def _bottle_shelf_module(request: pytest.FixtureRequest) -> Iterator[Shelf]:
    """Hold this module's shared bottles; for `scope="module"`."""
    yield from _shelf(request, "module")


@pytest.fixture(scope="session")
def _bottle_shelf_session(request: pytest.FixtureRequest) -> Iterator[Shelf]:
    """Hold this worker's shared bottles; for `scope="session"`."""
    yield from _shelf(request, "session")


@pytest.fixture(scope="session")
def _bottle_shelf_run(request: pytest.FixtureRequest) -> Iterator[Shelf]:
    """Hold this worker's share in the run's bottles; for `scope="run"`."""
    yield from _shelf(request, "run")
