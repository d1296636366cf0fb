"""The container's first process: the exec channel's server, or a shell where there is no Python.

It lives until its stdin ends, which is when we let go of it or die. Being process 1, it cannot be
killed from within, and reaps what others leave behind.
"""

from __future__ import annotations

import functools
import json
from typing import Final

from pytest_bottle.backends.channel.program import guest_program

WITHOUT_PYTHON: Final = b"pytest-bottle: no python3\n"
"""What the shell says before all else where it stays the first process."""

_BOOTSTRAP: Final = """\
import os, sys
def take(size):
    data = b""
    while len(data) < size:
        piece = os.read(0, size - len(data))
        if not piece:
            os._exit(0)
        data += piece
    return data
size = int(take(8))
exec(compile(take(size), "pytest-bottle", "exec"))
"""
"""Reads the server from stdin: as an argument it would fill every process list in the guest."""

WRITE_HOSTS: Final = """\
[ -s /etc/hosts ] || echo "127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback" >/etc/hosts
"""
"""Names the loopback: the engine leaves an empty file where it does not manage the network."""

_FIRST_PROCESS: Final = f"""\
if [ -w /etc/hosts ]; then {WRITE_HOSTS} fi
command -v python3 >/dev/null 2>&1 && exec python3 -IS -c "$1" "$3"
echo "pytest-bottle: no python3"
trap "" INT TERM HUP QUIT
exec 3<&0 </dev/null
while :; do
    (
        while IFS= read -r word; do [ "$word" != "$2" ] || exit 0; done
        exit 1
    ) <&3 &
    wait $!
    case $? in 0) break ;; 1) exit 0 ;; esac
done
while :; do sleep 3600 & wait $!; done
"""
"""The shell does not read, but waits for a child that does: a shell that waits reaps orphans too. A
guest may kill the child, which then has a successor; not so the shell, deaf to what it can be sent.
"""


def entrypoint(token: str, workdir: str) -> list[str]:
    """Return the first process's command.

    Args:
        token: the word that lets a shell outlive its stdin.
        workdir: where commands run.
    """
    return ["/bin/sh", "-c", _FIRST_PROCESS, "sh", _BOOTSTRAP, token, _settings(workdir)]


def further_server(workdir: str) -> list[str]:
    """Return the command of a second server, beside the first process."""
    return ["python3", "-IS", "-c", _BOOTSTRAP, _settings(workdir)]


@functools.cache
def first_words() -> bytes:
    """Return what a server is sent before the first frame: itself."""
    source = guest_program()
    return b"%08d" % len(source) + source


def stay_words(token: str) -> bytes:
    """Return what makes the shell outlive its stdin."""
    return b"\n" + token.encode() + b"\n"


def _settings(workdir: str) -> str:
    return json.dumps({"env": {}, "workdir": workdir})
