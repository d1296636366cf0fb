"""The proxy's own Python environment, made once per host: no test process imports from it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle import process
from pytest_bottle.errors import CapabilityError
from pytest_bottle.state.publish import locked
from pytest_bottle.state.publish import publish

if TYPE_CHECKING:
    from collections.abc import Callable

PYTHON_VARIABLE: Final = "BOTTLE_PROXY_PYTHON"
"""Names a Python that has mitmproxy already; then none is installed."""

REQUIREMENTS: Final = (
    "mitmproxy==11.0.2" if sys.version_info < (3, 12) else "mitmproxy>=12,<13",
    "detect-secrets>=1.5,<2",
)
"""11.0.2 is the last for Python 3.11."""

_READY: Final = "ready"
"""In the environment, written last."""

_TIMEOUT: Final = 900.0
"""Seconds for pip, over a slow network."""
_VENV_TIMEOUT: Final = 120.0
_CHECK_TIMEOUT: Final = 60.0
_TAIL: Final = 1500
_NAME: Final = "proxy"
"""The capability."""


def environment_directory() -> Path:
    """Return where the environment is, or will be."""
    key = "\n".join((*REQUIREMENTS, sys.version, sys.base_prefix, platform.platform()))
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "pytest-bottle" / f"proxy-{digest}"


def ensure_environment(report: Callable[[str], None]) -> Path:
    """Return the Python that runs the proxy, whose environment is made where there is none yet.

    Args:
        report: told, in a line, of what takes its time.

    Raises:
        CapabilityError: it cannot be made, or the Python that was named cannot be used.
    """
    if chosen := os.environ.get(PYTHON_VARIABLE):
        return _check(Path(chosen))
    directory = environment_directory()
    python = directory / "bin" / "python"
    if (directory / _READY).exists():
        return python
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with locked(directory.with_name(f"{directory.name}.lock"), poll=0.1):
            if not (directory / _READY).exists():
                _make(directory, python, report)
    except OSError as problem:
        raise CapabilityError(
            _NAME,
            reason=f"its environment could not be made in {directory.parent}: {problem}.",
            fix="make room or name another directory with XDG_CACHE_HOME",
        ) from problem
    return python


def look() -> tuple[bool, str, str]:
    """Tell whether there is a proxy on this host, or could be, what was seen, and how to fix it.

    Makes none.
    """
    if chosen := os.environ.get(PYTHON_VARIABLE):
        try:
            _check(Path(chosen))
        except CapabilityError as problem:
            return False, problem.reason, problem.fix
        return True, f"mitmproxy of {chosen}", ""
    directory = environment_directory()
    if (directory / _READY).exists():
        return True, f"{REQUIREMENTS[0]} in {directory}", ""
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            return False, f"this Python has no {module}", _venv_fix()
    detail = f"{REQUIREMENTS[0]} will be installed in {directory} when it is first needed"
    return True, detail, ""


def _check(python: Path) -> Path:
    """Return a Python that somebody named, if it can run the proxy."""
    code = "import mitmproxy.version as v; print(v.VERSION)"
    fix = f"install mitmproxy for it, or unset {PYTHON_VARIABLE}"
    try:
        done = process.run([str(python), "-P", "-c", code], timeout=_CHECK_TIMEOUT)
    except (OSError, TimeoutError) as problem:
        reason = f"{PYTHON_VARIABLE} names {python}: {problem}."
        raise CapabilityError(_NAME, reason=reason, fix=fix) from problem
    if done.returncode != 0:
        reason = f"{PYTHON_VARIABLE} names {python}, which has no mitmproxy."
        raise CapabilityError(_NAME, reason=reason, fix=fix)
    return python


def _make(directory: Path, python: Path, report: Callable[[str], None]) -> None:
    report(f"installing the egress proxy ({', '.join(REQUIREMENTS)}), once for this host")
    shutil.rmtree(directory, ignore_errors=True)  # Of an attempt that was cut off.
    # In place: an environment knows its own path.
    _run(
        [_base_python(), "-m", "venv", str(directory)],
        timeout=_VENV_TIMEOUT,
        what="python -m venv",
        fix=_venv_fix(),
    )
    # By the user's own pip.conf, proxies and indexes.
    _run(
        [
            *(str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"),
            *("--quiet", *REQUIREMENTS),
        ],
        timeout=_TIMEOUT,
        what="pip install",
        fix="make the packages reachable for pip (its pip.conf and PIP_* variables hold), or name "
        f"a Python that has mitmproxy with {PYTHON_VARIABLE}",
    )
    publish(directory / _READY, "\n".join(REQUIREMENTS))


def _base_python() -> str:
    """Return the Python that this one's environment was made from, else this one."""
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return str(base) if base.exists() else sys.executable


def _run(argv: list[str], *, timeout: float, what: str, fix: str) -> None:
    env = {key: value for key, value in os.environ.items() if key not in _ASTRAY}
    try:
        done = process.run(argv, timeout=timeout, env=env)
    except (OSError, TimeoutError) as problem:
        raise CapabilityError(_NAME, reason=f"{what} failed: {problem}.", fix=fix) from problem
    if done.returncode != 0:
        end = (done.stdout + done.stderr).decode(errors="replace").strip()[-_TAIL:]
        reason = f"{what} failed with exit code {done.returncode}:\n{end}\n"
        raise CapabilityError(_NAME, reason=reason, fix=fix)


_ASTRAY: Final = ("PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_ROOT")
"""Variables by which packages would end up elsewhere."""


def _venv_fix() -> str:
    with suppress(OSError):
        if "debian" in Path("/etc/os-release").read_text(encoding="utf-8").lower():
            version = f"{sys.version_info[0]}.{sys.version_info[1]}"
            return f"apt-get install python{version}-venv"
    return f"install the module venv, or name a Python with mitmproxy with {PYTHON_VARIABLE}"
