"""The Docker backend: containers without a network, reached through their first process."""

from __future__ import annotations

import contextlib
import secrets
import threading
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.backends.base import Guest
from pytest_bottle.backends.base import Probe
from pytest_bottle.backends.base import Resource
from pytest_bottle.backends.base import silence
from pytest_bottle.backends.channel.client import Channel
from pytest_bottle.backends.docker import unavailable
from pytest_bottle.backends.docker.branching import BRANCH_KIND
from pytest_bottle.backends.docker.branching import commit_lock
from pytest_bottle.backends.docker.branching import find_branch_images
from pytest_bottle.backends.docker.branching import image_resources
from pytest_bottle.backends.docker.branching import make_branch_image
from pytest_bottle.backends.docker.branching import remove_branch_image
from pytest_bottle.backends.docker.container import CONTAINER_KIND
from pytest_bottle.backends.docker.container import NAME_LABEL
from pytest_bottle.backends.docker.container import OWNER_LABEL
from pytest_bottle.backends.docker.container import create_options
from pytest_bottle.backends.docker.departures import Departures
from pytest_bottle.backends.docker.doorway import Doorway
from pytest_bottle.backends.docker.doorway import make_directory
from pytest_bottle.backends.docker.endpoint import current_endpoint
from pytest_bottle.backends.docker.endpoint import endpoint_at
from pytest_bottle.backends.docker.engine import QUICK_TIMEOUT
from pytest_bottle.backends.docker.engine import Engine
from pytest_bottle.backends.docker.engine import EngineError
from pytest_bottle.backends.docker.first_process import WRITE_HOSTS
from pytest_bottle.backends.docker.first_process import first_words
from pytest_bottle.backends.docker.first_process import further_server
from pytest_bottle.backends.docker.image import provide_image
from pytest_bottle.backends.docker.lost import lost_sentence
from pytest_bottle.backends.docker.meeting import meet
from pytest_bottle.backends.docker.ready import ReadyImage
from pytest_bottle.backends.docker.ready import ready_image
from pytest_bottle.backends.docker.sandbox import DockerSandbox
from pytest_bottle.backends.docker.sandbox import Hold
from pytest_bottle.errors import CapabilityError
from pytest_bottle.errors import LaunchError
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.errors import TeardownError

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping
    from collections.abc import Sequence
    from pathlib import Path
    from typing import TypeAlias

    from pytest_bottle.backends.docker.attach import AttachedStream
    from pytest_bottle.plan import BottlePlan
    from pytest_bottle.plan import ImagePlan

    _ImageKey: TypeAlias = tuple[ImagePlan | None, str | None, str, str | None]

REMOVE_DEADLINE: Final = 10.0
"""Seconds that an engine gets to remove a container by force."""


class DockerBackend:
    """See `Backend`."""

    name = "docker"
    wall = "container"
    golden = False  # Little is provisioned as a rule; see benchmarks/README.md.
    branches_processes = False

    def __init__(self) -> None:
        """Touch nothing yet."""
        self._lock = threading.Lock()
        self._engines: dict[str, Engine] = {}
        self._host: str | None = None
        self._images: dict[_ImageKey, ReadyImage] = {}
        self._departures = Departures()

    def probe(self) -> Probe:
        """Ask the engine who it is."""
        try:
            endpoint = current_endpoint()
        except CapabilityError as problem:
            return Probe(ok=False, detail=problem.reason, fix=problem.fix)
        try:
            engine = Engine(endpoint, timeout=QUICK_TIMEOUT)
            with contextlib.closing(engine):
                version = engine.version()
        except EngineError as problem:
            detail, fix = unavailable.explain(endpoint.host, str(problem))
            return Probe(ok=False, detail=detail, fix=fix)
        return unavailable.judge(endpoint.host, version)

    def prepare(self, plan: BottlePlan, report: Callable[[str], None] = silence) -> None:
        """Have the image on the engine: present, pulled or built, with the bottle's layer."""
        engine = self._engine()
        try:
            self._images[_image_key(plan)] = self._provide(engine, plan, report)
        except EngineError as problem:
            detail, fix = unavailable.explain(engine.endpoint.host, str(problem))
            raise CapabilityError(self.name, reason=detail, fix=fix) from problem

    def planned_resources(self, plan: BottlePlan) -> Sequence[Resource]:
        """Return the container, by the name that it will have, and the image made for it."""
        if self._host is None:
            self._host = current_endpoint().host
        container = Resource(kind=CONTAINER_KIND, id=plan.name, data={"host": self._host})
        return [container, *image_resources(plan, self._host)]

    def launch(self, plan: BottlePlan) -> DockerSandbox:
        """Start the planned container."""
        engine = self._engine()
        try:
            image = self._image(engine, plan)
            return self._launch(engine, plan, image)
        except EngineError as problem:
            self._images.pop(_image_key(plan), None)
            message = f"the engine did not start {plan.name}: {problem}"
            raise LaunchError(message) from problem

    def branch(self, plan: BottlePlan, reference: Mapping[str, Any]) -> DockerSandbox:
        """Start a container with another one's files; see `Branching`."""
        try:
            engine = self._engine(reference["host"])
            image = self._image(engine, plan)
            files = make_branch_image(engine, plan, reference)
            return self._launch(engine, plan, image, files)
        except EngineError as problem:
            message = f"the engine did not branch {plan.branch_of}: {problem}"
            raise LaunchError(message) from problem

    def _launch(
        self, engine: Engine, plan: BottlePlan, image: ReadyImage, files: str | None = None
    ) -> DockerSandbox:
        """Start a container; with the files of another image, where that was made for it."""
        token = secrets.token_hex(16)
        with contextlib.ExitStack() as undo:
            if files is not None:
                undo.callback(_remove_image_quietly, engine, plan.name)
            undo.callback(_remove_quietly, engine, plan.name)
            try:
                directory = self._create(engine, plan, image, token, files)
            except EngineError as problem:
                if problem.status is not None and files is None:
                    undo.pop_all()  # Refused: what has this name is not ours.
                raise
            stream = engine.attach(plan.name)
            undo.callback(stream.close)
            try:
                stream.write(first_words())
                engine.start(plan.name)
                hosts = None if image.account.uid == 0 else _write_hosts(engine, plan.name)
                channel = meet(engine, plan.name, stream)
                if hosts is not None:
                    undo.callback(hosts.close)
                    hosts.drain(QUICK_TIMEOUT)
            except OSError as problem:
                message = f"the connection to {plan.name} broke: {problem}"
                raise LaunchError(message) from problem
            undo.pop_all()
        account = image.account
        home = account.home if channel is None else channel.wait_ready()["home"]
        return DockerSandbox(
            name=plan.name,
            engine=engine,
            guest=Guest(user=account.name, uid=account.uid, home=home, workdir=plan.workdir),
            channel=channel,
            hold=Hold(stream=stream, token=token),
            doorway=Doorway(
                directory=directory,
                image=None if channel is None else image.reference,
            ),
            commit_lock=commit_lock(plan),
            departed=self._departed(engine, plan),
        )

    def _create(
        self,
        engine: Engine,
        plan: BottlePlan,
        image: ReadyImage,
        token: str,
        files: str | None,
    ) -> Path | None:
        """Create the container, with what this engine can; return its doorway's directory."""
        while True:
            door = make_directory(engine, plan)
            bounds_disk = engine.bounds_disk and plan.limits.disk is not None
            options = create_options(
                plan,
                image,
                token=token,
                files=files,
                bounds_disk=bounds_disk,
                door=None if door is None else str(door),
            )
            try:
                engine.create(plan.name, options)
            except EngineError as problem:
                words = str(problem).lower()
                # Only some storage drivers can bound a container; the others say so.
                if bounds_disk and "storage" in words:
                    engine.bounds_disk = False
                elif door is not None and "mount" in words:
                    engine.shares_files = False
                else:
                    raise
            else:
                return door

    def attach(self, plan: BottlePlan, reference: Mapping[str, Any]) -> DockerSandbox:
        """Connect to a container that another process launched."""
        name, guest = reference["name"], Guest(**reference["guest"])
        try:
            engine = self._engine(reference["host"])
            found = engine.inspect(name)
            if found is None or not found["State"]["Running"]:
                raise SandboxLostError(lost_sentence(engine, name))
            channel = None
            if reference["python"]:
                stream = engine.exec(name, further_server(plan.workdir))
                stream.write(first_words())
                channel = Channel(stream, lost=lambda: lost_sentence(engine, name))
                channel.wait_ready()
        except (EngineError, OSError) as problem:
            message = f"cannot connect to container {name}: {problem}"
            raise SandboxLostError(message) from problem
        return DockerSandbox(
            name=name,
            engine=engine,
            guest=guest,
            channel=channel,
            hold=None,
            doorway=Doorway.from_json(reference["doorway"]),
            commit_lock=reference["commit_lock"],
            departed=self._departed(engine, plan),
        )

    def remove(self, resource: Resource) -> None:
        """Remove a container, or the image that was made for one."""
        host = resource.data.get("host")
        what = f"{resource.kind.partition(':')[2]} {resource.id} at {host}"
        try:
            engine = self._engine(host)
            if resource.kind == BRANCH_KIND:
                gone = remove_branch_image(engine, resource.id, deadline=REMOVE_DEADLINE)
            else:
                gone = engine.remove(resource.id, deadline=REMOVE_DEADLINE)
        except (EngineError, CapabilityError) as problem:
            message = f"{what} could not be removed: {problem}"
            raise TeardownError(message) from problem
        if not gone:
            message = f"{what} is still there after {REMOVE_DEADLINE:g} s"
            raise TeardownError(message)

    def orphans(self) -> Sequence[tuple[Resource, str]]:
        """Return our containers and their images on this engine; nothing where none answers."""
        try:
            endpoint = current_endpoint()
            with contextlib.closing(Engine(endpoint, timeout=QUICK_TIMEOUT)) as engine:
                found = engine.labelled(OWNER_LABEL)
                images = find_branch_images(engine)
        except (CapabilityError, EngineError):
            return ()
        return [
            (
                Resource(
                    kind=CONTAINER_KIND,
                    id=container["Labels"][NAME_LABEL],  # Its own name goes before it does.
                    data={"host": endpoint.host},
                ),
                container["Labels"][OWNER_LABEL],
            )
            for container in found
        ] + [
            (Resource(kind=BRANCH_KIND, id=name, data={"host": endpoint.host}), owner)
            for name, owner in images
        ]

    def settle(self, deadline: float) -> None:
        """Wait until all that was stopped is gone; force what does not go."""
        self._departures.settle(deadline)

    def shutdown(self) -> None:
        """Close idle connections."""
        with self._lock:
            engines, self._engines = list(self._engines.values()), {}
        for engine in engines:
            engine.close()

    def _engine(self, host: str | None = None) -> Engine:
        """Return the connection to the current engine, or to the one at `host`."""
        with self._lock:
            wanted = host or self._host
            if wanted in self._engines:
                return self._engines[wanted]
            endpoint = current_endpoint() if wanted is None else endpoint_at(wanted)
            try:
                engine = Engine(endpoint)
            except EngineError as problem:
                detail, fix = unavailable.explain(endpoint.host, str(problem))
                raise CapabilityError(self.name, reason=detail, fix=fix) from problem
            self._engines[endpoint.host] = engine
            if host is None:
                self._host = endpoint.host
            return engine

    def _image(self, engine: Engine, plan: BottlePlan) -> ReadyImage:
        key = _image_key(plan)
        if key not in self._images:
            self._images[key] = self._provide(engine, plan, silence)
        return self._images[key]

    def _provide(
        self, engine: Engine, plan: BottlePlan, report: Callable[[str], None]
    ) -> ReadyImage:
        key = _image_key(plan)
        if key in self._images:
            return self._images[key]
        agent = plan.agent.kind if plan.agent else None
        base = provide_image(engine, plan.image, report, agent=agent)
        return ready_image(engine, base, plan)

    def _departed(self, engine: Engine, plan: BottlePlan) -> Callable[[str, bool], None]:
        has_image = bool(image_resources(plan, ""))

        def depart(name: str, by_itself: bool) -> None:  # noqa: FBT001
            if not by_itself:
                _remove_quietly(engine, name)
            # Not so what served its door for a moment.
            self._departures.add(engine, name, image=has_image and name == plan.name)

        return depart


def _image_key(plan: BottlePlan) -> _ImageKey:
    return (plan.image, plan.user, plan.workdir, plan.agent.kind if plan.agent else None)


def _remove_quietly(engine: Engine, name: str) -> None:
    """Remove a container as far as the engine lets us; the journal knows it otherwise."""
    with contextlib.suppress(EngineError):
        engine.remove(name, deadline=REMOVE_DEADLINE)


def _remove_image_quietly(engine: Engine, name: str) -> None:
    """Remove a bottle's image as far as the engine lets us; the journal knows it otherwise."""
    with contextlib.suppress(EngineError):
        remove_branch_image(engine, name, deadline=REMOVE_DEADLINE)


def _write_hosts(engine: Engine, name: str) -> AttachedStream:
    """Begin what only root can do, while the first process gets ready."""
    return engine.exec(name, ("/bin/sh", "-c", WRITE_HOSTS), user="0")
