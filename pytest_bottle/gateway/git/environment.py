"""The environment of git programs that the gate starts: nothing of them asks, or runs others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Final

if TYPE_CHECKING:
    from collections.abc import Mapping

GIT: Final = "git"

_CONFIG: Final = Path(__file__).parent / "hardened.gitconfig"

_PLAIN: Final = ("HOME", "PATH", "TMPDIR", "LD_LIBRARY_PATH")
"""What a program needs that meets what a guest sent, and nobody else."""

_WAY_OUT: Final = frozenset(
    {
        *("all_proxy", "http_proxy", "https_proxy", "no_proxy"),
        *("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
        *("GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT"),
        *("GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSL_CERT", "GIT_SSL_KEY", "GIT_SSL_NO_VERIFY"),
        *("GIT_EXEC_PATH", "LOGNAME", "SSH_AUTH_SOCK", "SSL_CERT_DIR", "SSL_CERT_FILE", "USER"),
        *_PLAIN,
    }
)
"""By what git reaches what is outside; no other variable counts."""

_SSH: Final = "-o BatchMode=yes -o ConnectTimeout=15"

_HARDENED: Final = {
    "GIT_ASKPASS": "/bin/false",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": str(_CONFIG),
    "GIT_CONFIG_NOSYSTEM": "1",
    # A guest may push replacements, and what it replaces would not be looked at.
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
    "SSH_ASKPASS": "/bin/false",
    "SSH_ASKPASS_REQUIRE": "never",
}


def plain_environment() -> dict[str, str]:
    """Return the environment of a git that stays within one repository of ours."""
    own = {name: os.environ[name] for name in (*_PLAIN, "GIT_EXEC_PATH") if name in os.environ}
    return {**own, **_HARDENED, "GIT_ALLOW_PROTOCOL": ""}


def way_out(environ: Mapping[str, str]) -> dict[str, str]:
    """Return those of a process's variables by which its git reaches what is outside."""
    return {name: value for name, value in environ.items() if name in _WAY_OUT}


def reaching_environment(
    protocol: str, config: Mapping[str, str], environ: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of a git that reaches another repository.

    Args:
        protocol: The only one that it may use: `https`, `http`, `ssh` or `file`.
        config: Settings that no other process is to see, as an argument would be seen.
        environ: Whose way out it takes.
    """
    env = {**way_out(environ), **_HARDENED}
    env |= {"GIT_ALLOW_PROTOCOL": protocol, "GIT_CONFIG_COUNT": str(len(config))}
    if "GIT_SSH_COMMAND" in env or "GIT_SSH" not in env:
        env["GIT_SSH_COMMAND"] = f"{env.get('GIT_SSH_COMMAND', 'ssh')} {_SSH}"
    for number, (key, value) in enumerate(config.items()):
        env[f"GIT_CONFIG_KEY_{number}"] = key
        env[f"GIT_CONFIG_VALUE_{number}"] = value
    return env
