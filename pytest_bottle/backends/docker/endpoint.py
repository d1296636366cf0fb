"""Which engine to talk to: resolved from the environment as the docker command line does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.errors import CapabilityError

if TYPE_CHECKING:
    from types import ModuleType

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"

_TLS_FILES: Final = {"--tlscacert": "ca.pem", "--tlscert": "cert.pem", "--tlskey": "key.pem"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One engine's address, and what it takes to reach it."""

    host: str
    tls: Any = field(default=None, repr=False, compare=False)
    """The SDK's TLSConfig, if the address needs one."""
    arguments: tuple[str, ...] = ()
    """What makes the docker command line talk to the same engine."""


def sdk() -> ModuleType:
    """Import the Docker SDK.

    Raises:
        CapabilityError: it is not installed.
    """
    try:
        import docker  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as problem:
        raise CapabilityError(
            "docker",
            reason=f"the Docker SDK for Python is not installed ({problem}).",
            fix="pip install 'pytest-bottle[docker]'",
        ) from problem
    return docker


def current_endpoint() -> Endpoint:
    """Return the engine that `docker` would use: DOCKER_HOST, DOCKER_CONTEXT, current context.

    Raises:
        CapabilityError: no SDK, or a context that does not exist or cannot be read.
    """
    sdk()
    from docker.context import ContextAPI  # noqa: PLC0415
    from docker.context.config import get_current_context_name  # noqa: PLC0415
    from docker.errors import DockerException  # noqa: PLC0415
    from docker.utils import kwargs_from_env  # noqa: PLC0415

    try:
        if os.environ.get("DOCKER_HOST"):
            name = "default"
        else:
            name = os.environ.get("DOCKER_CONTEXT") or get_current_context_name()
        if name == "default":
            tls = kwargs_from_env().get("tls")
            host = os.environ.get("DOCKER_HOST", "") or DEFAULT_HOST
            return Endpoint(host=host, tls=tls, arguments=_arguments(host, tls=tls is not None))
        context: Any = ContextAPI.get_context(name)  # None where there is none
    except (DockerException, OSError, ValueError) as problem:
        raise CapabilityError(
            "docker",
            reason=f"the engine's address cannot be read: {problem}.",
            fix="check DOCKER_HOST, DOCKER_CERT_PATH and `docker context ls`",
        ) from problem
    if context is None or not context.Host:
        raise CapabilityError(
            "docker",
            reason=f"there is no docker context {name!r}.",
            fix="`docker context ls` lists them; `docker context use` or DOCKER_CONTEXT picks one",
        )
    return Endpoint(host=context.Host, tls=context.TLSConfig, arguments=("--context", name))


def endpoint_at(host: str) -> Endpoint:
    """Return the current endpoint where it has that address, else one for the address alone.

    Raises:
        CapabilityError: no SDK.
    """
    try:
        current = current_endpoint()
    except CapabilityError:
        sdk()
        return Endpoint(host=host, arguments=_arguments(host, tls=False))
    if current.host == host:
        return current
    return Endpoint(host=host, arguments=_arguments(host, tls=False))


def _arguments(host: str, *, tls: bool) -> tuple[str, ...]:
    address = () if host == DEFAULT_HOST else ("-H", host)
    if not tls:
        return address
    folder = os.environ.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docker")  # noqa: PTH111
    verify = "--tlsverify" if os.environ.get("DOCKER_TLS_VERIFY") else "--tls"
    files = [word for flag, file in _TLS_FILES.items() for word in (flag, f"{folder}/{file}")]
    return (*address, verify, *files)
