"""Starts one microVM, and waits until it serves commands."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.backends.base import Guest
from pytest_bottle.backends.channel.client import Channel
from pytest_bottle.backends.smolmachines.failures import SmolvmError
from pytest_bottle.backends.smolmachines.guest import FACTS
from pytest_bottle.backends.smolmachines.guest import ROOT
from pytest_bottle.backends.smolmachines.guest import bridge_command
from pytest_bottle.backends.smolmachines.guest import read_facts
from pytest_bottle.backends.smolmachines.guest import server_words
from pytest_bottle.backends.smolmachines.guest import start_server_command
from pytest_bottle.backends.smolmachines.lost import lost_sentence
from pytest_bottle.backends.smolmachines.stream import MachineStream
from pytest_bottle.errors import LaunchError

if TYPE_CHECKING:
    from pytest_bottle.backends.smolmachines.bottle_plan import SmolmachinesBottlePlan
    from pytest_bottle.backends.smolmachines.guest import Facts
    from pytest_bottle.backends.smolmachines.smolvm import Smolvm
    from pytest_bottle.plan import BottlePlan

ANSWER_GRACE: Final = 60.0
"""Seconds that a machine that runs gets to answer its first command."""

_PAUSE: Final = 0.2

_READY: Final = b"ready\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A machine that serves commands."""

    guest: Guest
    socket: str | None
    """The name of its server's socket; None where its image has no Python, and so no server."""


def start_machine(smolvm: Smolvm, resolved: SmolmachinesBottlePlan, *, branchable: bool) -> Started:
    """Create and boot a machine, and start the server in it.

    Raises:
        LaunchError: something of that failed; the machine may be there, or not.
    """
    name = resolved.name
    try:
        smolvm.machine_create(resolved.machine)
        smolvm.machine_start(name, branchable=branchable)
    except SmolvmError as problem:
        raise LaunchError(_explained(name, problem)) from problem
    facts = await_answer(smolvm, name)
    return _start_server(smolvm, resolved, facts)


def await_answer(smolvm: Smolvm, name: str) -> Facts:
    """Wait until a machine that was started runs commands: at first it may refuse or drop them.

    Raises:
        LaunchError: it did not within `ANSWER_GRACE`.
    """
    until = time.monotonic() + ANSWER_GRACE
    while True:
        try:
            done = smolvm.machine_exec(name, FACTS, timeout=ANSWER_GRACE)
            if (facts := read_facts(done.stdout)) is not None:
                return facts
            words = (done.stderr or done.stdout).decode(errors="replace").strip()[-500:]
            seen = f"it answered {words!r}"
        except SmolvmError as problem:
            seen = problem.message
            if problem.absent or problem.stopped:
                raise LaunchError(f"the machine {name} ended at once: {seen}") from problem
        if time.monotonic() > until:
            message = f"the machine {name} runs no command: {seen}. A bottle's image needs /bin/sh"
            raise LaunchError(message)
        time.sleep(_PAUSE)


def open_channel(smolvm: Smolvm, name: str, socket: str) -> Channel:
    """Connect to a machine's server.

    Raises:
        SandboxLostError: it does not answer, or the machine is gone.
    """
    argv = smolvm.exec_argv(name, bridge_command(socket), user=ROOT, interactive=True)
    stream = MachineStream(argv)
    channel = Channel(stream, lost=lambda: lost_sentence(smolvm, name, stream))
    try:
        channel.wait_ready()
    except BaseException:
        channel.close()
        raise
    return channel


def _start_server(smolvm: Smolvm, resolved: SmolmachinesBottlePlan, facts: Facts) -> Started:
    plan = resolved.plan
    guest = Guest(user=facts.user, uid=facts.uid, home=facts.home, workdir=plan.workdir)
    if not facts.python:
        return _without_server(smolvm, plan, guest)
    socket = f"pytest-bottle-{secrets.token_hex(8)}"
    settings = {
        "socket": socket,
        "user": plan.user or f"{facts.uid}:{facts.gid}",
        "env": dict(plan.env),
        "workdir": plan.workdir,
        "limits": resolved.limits,
    }
    try:
        done = smolvm.machine_exec(
            plan.name,
            start_server_command(),
            user=ROOT,
            input=server_words(settings),
            timeout=ANSWER_GRACE,
        )
    except SmolvmError as problem:
        raise LaunchError(f"no server starts in {plan.name}: {problem}") from problem
    if done.stdout != _READY:
        words = (done.stdout + done.stderr).decode(errors="replace").strip()[-1000:]
        raise LaunchError(f"the server in {plan.name} did not start: {words or 'no word of it'}")
    return Started(guest=guest, socket=socket)


def _without_server(smolvm: Smolvm, plan: BottlePlan, guest: Guest) -> Started:
    """Make do with the image's shell: the working directory, and who commands run as."""
    facts = _facts(smolvm, plan.name, plan.user) if plan.user else None
    if facts is not None:
        guest = Guest(user=facts.user, uid=facts.uid, home=facts.home, workdir=plan.workdir)
    script = 'mkdir -p "$1" && chown "$2" "$1" && chmod 755 "$1"'
    argv = ("/bin/sh", "-c", script, "sh", plan.workdir, str(guest.uid))
    try:
        done = smolvm.machine_exec(plan.name, argv, user=ROOT, timeout=ANSWER_GRACE)
    except SmolvmError as problem:
        raise LaunchError(f"{plan.workdir} cannot be made in {plan.name}: {problem}") from problem
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip()[-500:]
        raise LaunchError(f"{plan.workdir} cannot be made in {plan.name}: {words}")
    return Started(guest=guest, socket=None)


def _facts(smolvm: Smolvm, name: str, user: str) -> Facts:
    """Return what a machine says of another user.

    Raises:
        LaunchError: it has none of that name.
    """
    try:
        done = smolvm.machine_exec(name, FACTS, user=user, timeout=ANSWER_GRACE)
    except SmolvmError as problem:
        raise LaunchError(f"{name} cannot run commands as {user!r}: {problem}") from problem
    facts = read_facts(done.stdout)
    if facts is None:
        words = done.stderr.decode(errors="replace").strip()[-500:]
        raise LaunchError(f"{name} cannot run commands as {user!r}: {words}")
    return facts


def _explained(name: str, problem: SmolvmError) -> str:
    """Return what a failed start means, with what to do where that is known."""
    words = problem.message
    remedy = ""
    if "KvmOpen" in words or "Error(13)" in words:
        remedy = " The engine's user must be able to open /dev/kvm: `pytest-bottle doctor`."
    elif "no boot progress" in words:
        remedy = " The host is too busy, or cannot boot guests: see `pytest-bottle doctor`."
    elif "No space left" in words:
        remedy = (
            " The disk with the engine's state is full: `pytest-bottle image prune` frees some."
        )
    return f"the machine {name} did not start: {words.rstrip('.')}.{remedy}"
