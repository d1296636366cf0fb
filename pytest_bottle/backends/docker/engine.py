"""One engine: the calls that this backend makes, and what its failures mean."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import sys
import time
from typing import TYPE_CHECKING
from typing import Any
from typing import Final
from typing import cast

from pytest_bottle.backends.docker.attach import AttachedStream
from pytest_bottle.backends.docker.endpoint import Endpoint
from pytest_bottle.backends.docker.endpoint import sdk
from pytest_bottle.errors import InfraError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Mapping
    from collections.abc import Sequence

    from docker import APIClient

CALL_TIMEOUT: Final = 60.0
"""Seconds that an engine gets for one call: creating is slow on a crowded host."""

QUICK_TIMEOUT: Final = 5.0
"""Seconds for a question whose answer only explains something."""

NOT_FOUND: Final = 404
CONFLICT: Final = 409

_POLL: Final = 0.02
"""Seconds between two attempts at what the engine is not ready for."""

_POOL_SIZE: Final = 100
"""Idle connections kept; where a thread's does not fit, urllib3 logs a warning."""

_EVENT_DELAY: Final = 0.1
"""Seconds that an event may come after what it tells of."""

_ALL_STREAMS: Final = {"stream": 1, "stdin": 1, "stdout": 1, "stderr": 1}


class EngineError(InfraError):
    """The engine refused a call (`status`, in its own words), or did not answer (None)."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        """Keep the HTTP status, if there was an answer."""
        self.status = status
        super().__init__(message)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn the SDK's and the transport's exceptions into `EngineError`."""
    from docker.errors import APIError  # noqa: PLC0415 - the SDK is an extra
    from docker.errors import DockerException  # noqa: PLC0415
    from requests.exceptions import RequestException  # noqa: PLC0415

    try:
        yield
    except APIError as problem:
        words = str(problem.explanation or problem).strip()
        raise EngineError(words, status=problem.status_code) from problem
    except (DockerException, RequestException, OSError) as problem:
        raise EngineError(_root_words(problem)) from problem


def _root_words(problem: BaseException) -> str:
    """Return the words of the innermost cause: the transport's own, not its wrappers'."""
    seen: set[int] = set()
    while id(problem) not in seen:
        seen.add(id(problem))
        inner = problem.__cause__ or problem.__context__
        if inner is None:
            break
        problem = inner
    return f"{type(problem).__name__}: {problem}"


def _knock(host: str, timeout: float) -> None:
    """Try a unix socket first: where that fails, the SDK leaves its own attempt unclosed.

    Raises:
        EngineError: nothing listens there.
    """
    scheme, _, path = host.partition("://")
    if scheme != "unix":
        return
    with socket.socket(socket.AF_UNIX) as knock:
        knock.settimeout(timeout)
        try:
            knock.connect(path)
        except OSError as problem:
            raise EngineError(f"{type(problem).__name__}: {problem}") from problem


class Engine:
    """A connection to one engine; safe to use from several threads.

    Raises:
        CapabilityError: the SDK is not installed.
        EngineError: nothing usable answers at the endpoint.
    """

    def __init__(self, endpoint: Endpoint, *, timeout: float = CALL_TIMEOUT) -> None:
        """Connect, and agree on the API's version."""
        docker = sdk()
        self.endpoint = endpoint
        _knock(endpoint.host, timeout)
        self.bounds_disk = True
        """Whether its storage driver can bound a container's writes; False once it said no."""
        with translated():
            self.api: APIClient = docker.APIClient(
                base_url=endpoint.host,
                tls=endpoint.tls or False,
                version="auto",
                timeout=timeout,
                max_pool_size=_POOL_SIZE,
            )

    @functools.cached_property
    def shares_files(self) -> bool:
        """Whether this host's directories can be mounted, sockets in them and all.

        That takes the same kernel. False too once the engine could not find such a directory: it
        may see other files than this process.
        """
        if sys.platform != "linux" or not self.endpoint.host.startswith("unix://"):
            return False
        return bool(self.version().get("KernelVersion") == os.uname().release)

    def close(self) -> None:
        """Close idle connections; attached streams live on."""
        self.api.close()

    @contextlib.contextmanager
    def quick(self) -> Iterator[Engine]:
        """Return a second connection that does not wait long."""
        engine = Engine(self.endpoint, timeout=QUICK_TIMEOUT)
        try:
            yield engine
        finally:
            engine.close()

    def version(self) -> Mapping[str, Any]:
        """Return the engine's own description of itself."""
        with translated():
            return self.api.version()

    # Containers

    def create(self, name: str, options: Mapping[str, Any]) -> str:
        """Create a container and return its id."""
        with translated():
            create = cast("Any", self.api).create_container_from_config  # Public, but untyped.
            return str(create(dict(options), name)["Id"])

    def attach(self, container: str) -> AttachedStream:
        """Connect to the first process's streams; what it will write is not lost."""
        with translated():
            return AttachedStream(self.api.attach_socket(container, params=_ALL_STREAMS))

    def start(self, container: str) -> None:
        """Start a created container."""
        with translated():
            self.api.start(container)

    def inspect(self, container: str) -> Mapping[str, Any] | None:
        """Return what the engine knows of a container, None where there is none."""
        try:
            with translated():
                found: Mapping[str, Any] = self.api.inspect_container(container)
        except EngineError as problem:
            if problem.status == NOT_FOUND:
                return None
            raise
        return found

    def remove(self, container: str, *, deadline: float) -> bool:
        """Kill and remove a container; return whether it is gone within `deadline` seconds."""
        until = time.monotonic() + deadline
        while True:
            try:
                with translated():
                    self.api.remove_container(container, force=True, v=True)
            except EngineError as problem:
                if problem.status == NOT_FOUND:
                    return True
                if problem.status != CONFLICT:  # Conflict: being removed already.
                    raise
            else:
                return True
            if time.monotonic() > until:
                return False
            time.sleep(_POLL)

    def labelled(self, label: str) -> Sequence[Mapping[str, Any]]:
        """Return all containers, running or not, that have a label."""
        with translated():
            return list(self.api.containers(all=True, filters={"label": [label]}))

    def history(self, container: str, *, seconds: int) -> Sequence[Mapping[str, Any]]:
        """Return the events of the last `seconds` seconds that are about a container."""
        now = time.time()
        events = cast("Any", self.api).events  # Takes fractions of seconds, but is not typed so.
        span = {"since": int(now) - seconds, "until": now + _EVENT_DELAY}
        with translated():
            return list(events(**span, filters={"container": container}, decode=True))

    # Images

    def inspect_image(self, reference: str) -> Mapping[str, Any] | None:
        """Return what the engine knows of an image, None where it does not have it."""
        try:
            with translated():
                found: Mapping[str, Any] = cast("Any", self.api).inspect_image(reference)
        except EngineError as problem:
            if problem.status == NOT_FOUND:
                return None
            raise
        return found

    def commit(self, container: str, repository: str, tag: str, labels: Mapping[str, str]) -> None:
        """Make an image of a running container's files, which stands still meanwhile."""
        with translated():
            self.api.commit(container, repository, tag, pause=True, conf={"Labels": dict(labels)})

    def tag(self, image: str, repository: str, tag: str) -> None:
        """Give an image one more name."""
        with translated():
            self.api.tag(image, repository, tag)

    def images(self, repository: str) -> Sequence[Mapping[str, Any]]:
        """Return the images of a repository."""
        with translated():
            return list(self.api.images(repository))

    def remove_image(self, image: str, *, deadline: float) -> bool:
        """Take an image's name away, and with the last one the image.

        Returns:
            Whether it is gone within `deadline` seconds: it stays while a container uses it.
        """
        until = time.monotonic() + deadline
        while True:
            try:
                with translated():
                    self.api.remove_image(image)
            except EngineError as problem:
                if problem.status == NOT_FOUND:
                    return True
                if problem.status != CONFLICT:
                    raise
            else:
                return True
            if time.monotonic() > until:
                return False
            time.sleep(_POLL)

    # Commands

    def exec(
        self,
        container: str,
        argv: Sequence[str],
        *,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> AttachedStream:
        """Start a command in a running container and return its streams."""
        with translated():
            made = self.api.exec_create(
                container, list(argv), stdin=True, user=user or "", environment=dict(env or {})
            )
            return AttachedStream(self.api.exec_start(made["Id"], socket=True), id=made["Id"])

    def exec_returncode(self, identity: str) -> int | None:
        """Return the return code of an ended exec, None while it runs."""
        with translated():
            code = self.api.exec_inspect(identity)["ExitCode"]
        return None if code is None else int(code)
