"""What the tests of a suite ask of the lifecycle; only suites that use bottles pay for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.backends.smolmachines.engine import ENGINE_VARIABLE
from pytest_bottle.errors import MarkerError
from pytest_bottle.errors import OptionError
from pytest_bottle.gateway.egress.environment import PYTHON_VARIABLE
from pytest_bottle.gateway.prices import load_prices
from pytest_bottle.lifecycle.extensions import Extensions
from pytest_bottle.lifecycle.lifecycle import Lifecycle
from pytest_bottle.lifecycle.prepare import names_image
from pytest_bottle.lifecycle.prepare import requested_backend
from pytest_bottle.lifecycle.settings import Settings
from pytest_bottle.lifecycle.spec import spec_from_arguments
from pytest_bottle.manifest import EMPTY
from pytest_bottle.manifest import find_manifest
from pytest_bottle.manifest import load_manifest
from pytest_bottle.markers import bottle_arguments
from pytest_bottle.markers import listed_backends
from pytest_bottle.nearest import nearest
from pytest_bottle.options import ALL
from pytest_bottle.options import AUTO
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Collection
    from collections.abc import Iterable
    from pathlib import Path

    import pytest

    from pytest_bottle.identity import RunIdentity
    from pytest_bottle.lifecycle.spec import Spec
    from pytest_bottle.manifest import Manifest
    from pytest_bottle.options import Options


class Engine:
    """This process's lifecycle, and the manifests and markers that say what it is to open."""

    def __init__(
        self,
        config: pytest.Config,
        options: Options,
        identity: RunIdentity,
        report: Callable[[str], None],
    ) -> None:
        """Take part in the run.

        Args:
            config: Where the hooks and the root directory are.
            options: The settings.
            identity: The run to join.
            report: Told, in a line, of whatever makes a person wait.

        Raises:
            StateDirectoryError: there is no safe place for the run's state.
        """
        self._options = options
        self._root = config.rootpath
        self._nearest: dict[Path, Path | None] = {}
        self._manifests: dict[Path | None, Manifest] = {}
        controller = Owner.decode(identity.controller) if identity.controller else Owner.current()
        names = options["backend"]
        settings = Settings(
            backend=names[0] if len(names) == 1 and ALL not in names else AUTO,
            slots=options["slots"],
            timeout=options["timeout"],
            model=options["model"],
            budget=options["budget"],
            prices=options["prices"],
            report=report,
        )
        if options["smolvm"] is not None:
            # Backends are told by the environment, as is what runs beside and after this process.
            os.environ[ENGINE_VARIABLE] = str(options["smolvm"])
        if options["proxy-python"] is not None:
            os.environ[PYTHON_VARIABLE] = str(options["proxy-python"])
        run = Run.of(identity.run_id, identity.worker, controller)
        self._config = config
        extensions = Extensions()
        _add_extensions(extensions, lambda name: getattr(config.hook, name)(config=config))
        self.lifecycle: Final = Lifecycle(run, settings, extensions)
        self.lifecycle.learn(identity.answers)

    def hear(self, plugin: object) -> None:
        """Add the extensions of a conftest file that was found after the first bottle or gate."""
        manager = self._config.pluginmanager
        others = [other for other in manager.get_plugins() if other is not plugin]

        def call(name: str) -> Iterable[Any]:
            answers: Iterable[Any] = manager.subset_hook_caller(name, others)(config=self._config)
            return answers

        _add_extensions(self.lifecycle.extensions, call)

    def check_options(self) -> None:
        """Check what the settings refer to.

        Raises:
            OptionError: there is no such backend or capability, or the file has no prices.
        """
        load_prices(self._options["prices"])
        known = self.lifecycle.extensions
        self._check_names("backend", "backend", {*known.backend_names, AUTO, ALL})
        self._check_names("require", "capability", known.capability_names)

    def _check_names(self, name: str, what: str, known: Collection[str]) -> None:
        for chosen in self._options[name]:
            if chosen not in known:
                problem = f"there is no {what} {chosen!r}."
                raise OptionError(
                    problem,
                    option=f"--bottle-{name}",
                    source=self._options.values[name].source,
                    remedy=nearest(chosen, known),
                )

    def manifest_for(self, path: Path) -> Manifest:
        """Return the manifest for a test file: the setting's, else the nearest one above it.

        Raises:
            ManifestError: it is wrong.
        """
        return self.manifest_at(self._options["manifest"] or self._find(path.parent))

    def manifest_at(self, found: Path | None) -> Manifest:
        """Return the manifest in a file, read once; the empty one without a file.

        Raises:
            ManifestError: it is wrong.
        """
        if found not in self._manifests:
            self._manifests[found] = EMPTY if found is None else load_manifest(found)
        return self._manifests[found]

    def _find(self, directory: Path) -> Path | None:
        if directory not in self._nearest:
            self._nearest[directory] = find_manifest(directory, self._root)
        return self._nearest[directory]

    def spec_for(self, node: pytest.Item, backend: str | None = None) -> Spec:
        """Return what a test's markers ask for.

        Args:
            node: The test.
            backend: What takes the place of a list of backends, and of none.

        Raises:
            MarkerError: naming the test.
        """
        arguments = bottle_arguments(node)
        if listed_backends(node, arguments) or arguments.get("backend") is None:
            arguments["backend"] = backend
        return spec_from_arguments(node.nodeid, **arguments)

    def backend_for(self, node: pytest.Item) -> str:
        """Return the backend of a test that no matrix gives one.

        Raises:
            MarkerError: its marker lists several.
            CapabilityError: the choice is the plugin's, and no backend opens here.
        """
        if listed_backends(node, bottle_arguments(node)):
            problem = "backend= can list several in the marker of a test, not of one parameter."
            raise MarkerError(problem, node=node.nodeid, remedy="Mark the function.")
        return self.lifecycle.choose_backend(self.spec_for(node), self.manifest_for(node.path))

    def runs_on_docker(self, node: pytest.Item, backend: str | None) -> bool:
        """Tell whether a test's bottle is one of the docker backend.

        Args:
            node: The test.
            backend: What takes the place of a list of backends, and of none.

        Raises:
            AuthorError: the marker or the manifest is wrong.
            CapabilityError: the choice is the plugin's, and no backend opens here.
        """
        spec = self.spec_for(node, backend)
        return self.lifecycle.choose_backend(spec, self.manifest_for(node.path)) == "docker"

    def names_image(self, node: pytest.Item, backend: str | None) -> bool:
        """Tell whether a test's marker or manifest says which image its bottle starts from.

        Raises:
            AuthorError: the marker or the manifest is wrong.
        """
        return names_image(self.spec_for(node, backend), self.manifest_for(node.path))

    def check(self, node: pytest.Item) -> None:
        """Check a test's markers as far as that starts nothing.

        Raises:
            AuthorError: the marker or the manifest is wrong.
        """
        extensions = self.lifecycle.extensions
        requested = requested_backend(self.spec_for(node), self.manifest_for(node.path))
        arguments = bottle_arguments(node)
        known = {*extensions.backend_names, AUTO, ALL}
        for name in listed_backends(node, arguments) or [arguments.get("backend")]:
            if name is not None and name not in known:
                problem = f"there is no backend {name!r}."
                raise MarkerError(problem, node=node.nodeid, remedy=nearest(name, known))
        if requested is not None and requested not in known:
            extensions.backend(requested)  # Raises, as the manifest has a name that is unknown.

    def matrix_for(self, node: pytest.Item) -> tuple[str, ...]:
        """Return the backends to run a test on, one after the other; empty where nobody lists any.

        Raises:
            MarkerError: the marker's list is wrong.
        """
        arguments = bottle_arguments(node)
        listed = listed_backends(node, arguments)
        if listed is None and arguments.get("backend") is None:
            names = self._options["backend"]
            listed = names if len(names) > 1 or ALL in names else ()
        if listed and ALL in listed:
            return self.lifecycle.extensions.backend_names
        return listed or ()


def _add_extensions(extensions: Extensions, call: Callable[[str], Iterable[Any]]) -> None:
    """Add what plugins and conftest files return from the hooks; `call` calls one by its name."""
    extensions.add(
        backends=[one for some in call("pytest_bottle_backends") for one in some],
        agents=[one for some in call("pytest_bottle_agents") for one in some],
        provisioners=[one for some in call("pytest_bottle_provisioners") for one in some],
        capabilities=[one for some in call("pytest_bottle_capabilities") for one in some.items()],
    )
