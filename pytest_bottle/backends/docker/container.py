"""What a container is asked to be, as the engine's API reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.backends.docker.first_process import entrypoint
from pytest_bottle.state.owner import Owner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.backends.docker.ready import ReadyImage
    from pytest_bottle.plan import BottlePlan

CONTAINER_KIND: Final = "docker:container"

DOOR_DIRECTORY: Final = "/run/pytest-bottle"
"""Where a container sees the directory that its listening sockets pass."""

OWNER_LABEL: Final = "pytest-bottle.owner"
NAME_LABEL: Final = "pytest-bottle.name"

_OUR_FIRST_PROCESS: Final[Mapping[str, Any]] = {
    "Cmd": [],
    "Healthcheck": {"Test": ["NONE"]},
    # An engine that shuts down, or comes back, would wait for our first process to obey.
    "StopSignal": "SIGKILL",
    "AttachStdin": True,
    "AttachStdout": True,
    "AttachStderr": True,
    "OpenStdin": True,
    "StdinOnce": True,
    "Tty": False,
}
"""How a container is fed over its standard input, and ends with it."""

_CONFINED: Final[Mapping[str, Any]] = {
    "AutoRemove": True,
    "CapDrop": ["ALL"],
    "SecurityOpt": ["no-new-privileges"],
    # All that a bottle writes passes its first process: the engine shall not log it.
    "LogConfig": {"Type": "none"},
}
"""What all our containers have in common."""

_CPU_PERIOD: Final = 100_000
"""Microseconds; the engine's own default."""


def labels(plan: BottlePlan) -> dict[str, str]:
    """Return what tells our containers from others, and each from its siblings."""
    return {
        "pytest-bottle.run": plan.run_id,
        "pytest-bottle.worker": plan.worker,
        NAME_LABEL: plan.name,
        OWNER_LABEL: Owner.current().encode(),
    }


def create_options(
    plan: BottlePlan,
    image: ReadyImage,
    *,
    token: str,
    files: str | None = None,
    bounds_disk: bool,
    door: str | None,
) -> Mapping[str, Any]:
    """Return the body of `POST /containers/create`.

    The first process lives as long as our end of its stdin (StdinOnce), and the container as long
    as its first process (AutoRemove): when this process dies, however it dies, so does the
    container.

    `files` is the image that it starts from where that is not the ready one, but made from it.

    `door` is a directory of this host, or None. The guest cannot change it, nor what is in it.

    The network is disabled, which is more than the network `none`: the engine does not manage the
    container's network namespace at all, and so does not start a process of its own to set it up.
    The kernel's loopback is there either way.
    """
    return {
        "Image": image.reference if files is None else files,
        "Hostname": plan.name,
        "User": plan.user or "",
        "WorkingDir": plan.workdir,
        "Env": [f"{key}={value}" for key, value in _environment(plan, image).items()],
        "Labels": labels(plan),
        "Entrypoint": entrypoint(token, plan.workdir),
        **_OUR_FIRST_PROCESS,
        "NetworkDisabled": True,
        "HostConfig": {**_host_options(plan, bounds_disk=bounds_disk), "Mounts": _mounts(door)},
    }


def beside_options(name: str, container: str, image: str, door: str) -> Mapping[str, Any]:
    """Return the body for a container in the network of another: small, and soon gone."""
    return {
        "Image": image,
        "User": "0",
        "WorkingDir": "/",
        "Labels": {NAME_LABEL: name, OWNER_LABEL: Owner.current().encode()},
        "Entrypoint": entrypoint("", "/"),
        **_OUR_FIRST_PROCESS,
        "HostConfig": {
            **_CONFINED,
            "NetworkMode": f"container:{container}",
            "ReadonlyRootfs": True,
            "Mounts": _mounts(door),
        },
    }


def _mounts(door: str | None) -> list[dict[str, Any]]:
    if door is None:
        return []
    return [{"Type": "bind", "Source": door, "Target": DOOR_DIRECTORY, "ReadOnly": True}]


def _environment(plan: BottlePlan, image: ReadyImage) -> dict[str, str]:
    account = {
        "USER": image.account.name,
        "LOGNAME": image.account.name,
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
    }
    missing = {key: value for key, value in account.items() if key not in image.env}
    return {**missing, **dict(plan.env)}


def _host_options(plan: BottlePlan, *, bounds_disk: bool) -> dict[str, Any]:
    limits = plan.limits
    options: dict[str, Any] = {
        **_CONFINED,
        "NetworkMode": "none",
    }
    if limits.memory is not None:
        options["Memory"] = options["MemorySwap"] = limits.memory
    if limits.cpus is not None:
        # Not NanoCpus: the engine refuses more of those than its host has.
        options["CpuPeriod"] = _CPU_PERIOD
        options["CpuQuota"] = round(limits.cpus * _CPU_PERIOD)
    if limits.pids is not None:
        options["PidsLimit"] = limits.pids
    if limits.disk is not None and bounds_disk:
        options["StorageOpt"] = {"size": str(limits.disk)}
    return options
