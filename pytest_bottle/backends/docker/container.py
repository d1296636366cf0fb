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

OWNER_LABEL: Final = "pytest-bottle.owner"
NAME_LABEL: Final = "pytest-bottle.name"

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
    plan: BottlePlan, image: ReadyImage, *, token: str, bounds_disk: bool
) -> Mapping[str, Any]:
    """Return the body of `POST /containers/create`.

    The first process lives as long as our end of its stdin (StdinOnce), and the container as long
    as its first process (AutoRemove): when this process dies, however it dies, so does the
    container.

    The network is disabled, which is more than the network `none`: the engine does not manage the
    container's network namespace at all, and so does not start a process of its own to set it up.
    The kernel's loopback is there either way.
    """
    return {
        "Image": image.reference,
        "Hostname": plan.name,
        "User": plan.user or "",
        "WorkingDir": plan.workdir,
        "Env": [f"{key}={value}" for key, value in _environment(plan, image).items()],
        "Labels": labels(plan),
        "Entrypoint": entrypoint(token, plan.workdir),
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
        "NetworkDisabled": True,
        "HostConfig": _host_options(plan, bounds_disk=bounds_disk),
    }


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
        "AutoRemove": True,
        "NetworkMode": "none",
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        # All that a bottle writes passes its first process: the engine shall not log it.
        "LogConfig": {"Type": "none"},
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
