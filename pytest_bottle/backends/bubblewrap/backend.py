"""The bubblewrap backend: process sandboxes that need neither a daemon nor root."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.backends.base import Guest
from pytest_bottle.backends.base import Probe
from pytest_bottle.backends.base import Resource
from pytest_bottle.backends.base import silence
from pytest_bottle.backends.bubblewrap import cgroup
from pytest_bottle.backends.bubblewrap import seccomp
from pytest_bottle.backends.bubblewrap.binary import find_bwrap
from pytest_bottle.backends.bubblewrap.broker_client import BrokerClient
from pytest_bottle.backends.bubblewrap.layout import DEFAULT_DISK
from pytest_bottle.backends.bubblewrap.layout import DEFAULT_PATH
from pytest_bottle.backends.bubblewrap.layout import Account
from pytest_bottle.backends.bubblewrap.layout import image_account
from pytest_bottle.backends.bubblewrap.layout import lay_out
from pytest_bottle.backends.bubblewrap.opening import explain_refusal
from pytest_bottle.backends.bubblewrap.sandbox import BubblewrapSandbox
from pytest_bottle.backends.bubblewrap.sandbox import Keeper
from pytest_bottle.backends.channel.client import Channel
from pytest_bottle.backends.channel.stream import SocketStream
from pytest_bottle.errors import CapabilityError
from pytest_bottle.errors import LaunchError
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.plan import BottlePlan
from pytest_bottle.plan import Limits
from pytest_bottle.state.owner import Owner

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping
    from collections.abc import Sequence

CGROUP_KIND: Final = "bubblewrap:cgroup"

UNPRIVILEGED_BASE: Final = 1_700_000_000
"""First of the uids that root gives to sandboxes, one each: beyond those of any distribution's
accounts, subordinate ids and systemd's dynamic users (uid ranges, systemd's UIDS-GIDS.md)."""

_NOBODY: Final = 65534
_UIDS_EACH: Final = 1000
_PROCESSES: Final = 20_000


class BubblewrapBackend:
    """See `Backend`."""

    name = "bubblewrap"
    wall = "process sandbox"

    def __init__(self) -> None:
        """Touch nothing yet."""
        self._broker = BrokerClient()
        self._numbers = itertools.count()

    def probe(self) -> Probe:
        """Open a real sandbox and say what limits it can have."""
        plan = BottlePlan(
            name=f"probe-{os.getpid()}",
            run_id="probe",
            worker="probe",
            backend=self.name,
            state_dir=Path(),
            limits=Limits(),
        )
        try:
            bwrap = find_bwrap()
            # Without control groups, as no journal would know of them if this process died now.
            self._launch(plan, None).stop()
        except CapabilityError as problem:
            return Probe(ok=False, detail=problem.reason, fix=problem.fix)
        except LaunchError as problem:
            detail, fix = explain_refusal(str(problem))
            return Probe(ok=False, detail=detail, fix=fix)
        return Probe(ok=True, detail=f"{bwrap.origin}; {_limits_sentence()}")

    def prepare(self, plan: BottlePlan, report: Callable[[str], None] = silence) -> None:  # noqa: ARG002
        """Check that the image is a root file system that can be used here."""
        find_bwrap()
        image = _image_directory(plan)
        if image is not None and not os.path.lexists(image / "bin/sh"):
            raise CapabilityError(
                self.name,
                reason=f"image {image} has no /bin/sh, so it is no root file system",
                fix="name a directory made by debootstrap or by `docker export`",
            )
        if image is not None:
            _check_reachable(image)
        _account(plan, image)

    def planned_resources(self, plan: BottlePlan) -> Sequence[Resource]:
        """Return the sandbox's control groups."""
        hierarchy = cgroup.find_hierarchy()
        paths = hierarchy.paths(plan.name) if hierarchy else []
        return [Resource(kind=CGROUP_KIND, id=str(path), late=False) for path in paths]

    def launch(self, plan: BottlePlan) -> BubblewrapSandbox:
        """Start the planned sandbox."""
        return self._launch(plan, cgroup.find_hierarchy())

    def _launch(self, plan: BottlePlan, hierarchy: cgroup.Hierarchy | None) -> BubblewrapSandbox:
        image = _image_directory(plan)
        account = _account(plan, image)
        uid = _unprivileged_uid(next(self._numbers)) if os.getuid() == 0 else None
        rlimits = _rlimits(plan.limits, hierarchy)
        env = _environment(plan, account)
        paths = hierarchy.paths(plan.name) if hierarchy else []
        # What the keeper gets copies of is closed here in any case, the rest only on failure.
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as handed_over:
            groups = _make_groups(plan, hierarchy)
            undo.callback(cgroup.remove, paths)
            for fd in groups:
                handed_over.callback(os.close, fd)
            listeners = [handed_over.enter_context(_listen(plan))] if plan.shared else []
            reply, connection = self._broker.launch(
                self._request(plan, account, uid=uid, rlimits=rlimits, env=env, image=image),
                [*(one.fileno() for one in listeners), *groups],
            )
            undo.callback(connection.close)
            keeper = Keeper(
                owner=_owner(reply["keeper"]),
                init=reply["init"],
                uid=uid,
                gid=uid,
                rlimits=tuple(rlimits),
                cgroups=tuple(str(path) for path in paths),
                socket=str(_socket_path(plan)) if plan.shared else None,
            )
            channel = Channel(SocketStream(connection), lost=keeper.lost_sentence)
            undo.callback(channel.close)
            try:
                facts = channel.wait_ready()
            except SandboxLostError as problem:
                message = f"the sandbox {plan.name} ended at once: {problem}"
                raise LaunchError(message) from problem
            undo.pop_all()
        guest = Guest(user=account.name, uid=account.uid, home=facts["home"], workdir=plan.workdir)
        return BubblewrapSandbox(
            name=plan.name, channel=channel, guest=guest, keeper=keeper, env=env
        )

    def _request(
        self,
        plan: BottlePlan,
        account: Account,
        *,
        uid: int | None,
        rlimits: Sequence[tuple[int, int]],
        env: Mapping[str, str],
        image: Path | None,
    ) -> dict[str, Any]:
        """Return the broker's request; `broker.Keeper` lists the keys."""
        bwrap = find_bwrap()
        layout = lay_out(
            account=account,
            hostname=plan.name,
            workdir=plan.workdir,
            disk=plan.limits.disk,
            image=image,
        )
        return {
            "bwrap": str(bwrap.path),
            "library_path": str(bwrap.library_path) if bwrap.library_path else None,
            "arguments": layout.arguments,
            "files": layout.files,
            "uid": uid,
            "gid": uid,
            "seccomp": seccomp.program().decode("latin-1"),
            "rlimits": list(rlimits),
            "env": env,
            "workdir": plan.workdir,
            "listens": plan.shared,
        }

    def attach(self, plan: BottlePlan, reference: Mapping[str, Any]) -> BubblewrapSandbox:
        """Connect to a sandbox that another process launched."""
        keeper = Keeper.from_json(reference["keeper"])
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(keeper.socket))
        except OSError as problem:
            connection.close()
            raise SandboxLostError(keeper.lost_sentence()) from problem
        channel = Channel(SocketStream(connection), lost=keeper.lost_sentence)
        channel.wait_ready()
        return BubblewrapSandbox(
            name=plan.name,
            channel=channel,
            guest=Guest(**reference["guest"]),
            keeper=keeper,
            env=reference["env"],
        )

    def remove(self, resource: Resource) -> None:
        """Remove a control group."""
        cgroup.remove([Path(resource.id)], kill=True)

    def orphans(self) -> Sequence[tuple[Resource, str]]:
        """Return nothing: a sandbox without a keeper is gone."""
        return ()

    def settle(self, deadline: float) -> None:
        """Return at once: `stop` leaves nothing to the background."""

    def shutdown(self) -> None:
        """End the broker."""
        self._broker.close()


def _make_groups(plan: BottlePlan, hierarchy: cgroup.Hierarchy | None) -> list[int]:
    if hierarchy is None:
        return []
    try:
        return cgroup.create(hierarchy, plan.name, plan.limits)
    except OSError as problem:
        message = f"the kernel refused the control group of {plan.name}: {problem}"
        raise LaunchError(message) from problem


def _owner(keeper: int) -> str:
    try:
        return Owner.of(keeper).encode()
    except ProcessLookupError as problem:
        message = "the sandbox's keeper ended at once"
        raise LaunchError(message) from problem


def _image_directory(plan: BottlePlan) -> Path | None:
    if plan.image is None:
        return None
    if plan.image.reference is None:
        raise CapabilityError(
            "bubblewrap",
            reason=f"it cannot build {plan.image.dockerfile}",
            fix="use the docker backend, or name a root file system's directory as image",
        )
    directory = Path(plan.image.reference).expanduser()
    if not directory.is_absolute() or not directory.is_dir():
        raise CapabilityError(
            "bubblewrap",
            reason=f"image {plan.image.reference!r} is no directory on this host",
            fix="give the absolute path of a root file system, or use the docker backend",
        )
    return directory


def _check_reachable(image: Path) -> None:
    """Refuse an image that the user whom root becomes for a sandbox could not enter."""
    closed = [path for path in (image, *image.parents) if not path.stat().st_mode & 0o001]
    if os.getuid() == 0 and closed:
        raise CapabilityError(
            "bubblewrap",
            reason=f"image {image} is out of reach for the unprivileged user that root becomes for "
            f"a sandbox: {closed[-1]} is closed to others",
            fix=f"chmod o+x {closed[-1]}, or keep the image elsewhere",
        )


def _account(plan: BottlePlan, image: Path | None) -> Account:
    if image is not None:
        account = image_account(image, plan.user)
        if account is None:
            raise CapabilityError(
                "bubblewrap",
                reason=f"image {image} has no user {plan.user!r}",
                fix="name a user of its /etc/passwd",
            )
        return account
    if plan.user is None:
        return Account()
    if plan.user in {"root", "0"}:
        return Account(name="root", uid=0, gid=0, home="/root")
    return Account(name=plan.user, home=f"/home/{plan.user}")


def _unprivileged_uid(number: int) -> int:
    """Return the uid of this process's Nth sandbox; nobody's where a container has no such uid."""
    share = os.getpid() % _PROCESSES * _UIDS_EACH
    uid = UNPRIVILEGED_BASE + share + number % _UIDS_EACH
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        first, _, count = (int(word) for word in line.split())
        if first <= uid < first + count:
            return uid
    return _NOBODY


def _environment(plan: BottlePlan, account: Account) -> dict[str, str]:
    return {
        "PATH": DEFAULT_PATH,
        "HOME": account.home,
        "USER": account.name,
        "LOGNAME": account.name,
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        **dict(plan.env),
    }


def _rlimits(limits: Limits, hierarchy: cgroup.Hierarchy | None) -> list[tuple[int, int]]:
    """Return per-process limits, for all that the control groups cannot bound."""
    bounded = hierarchy.parents if hierarchy else {}
    rlimits = [(resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, limits.disk or DEFAULT_DISK)]
    if limits.memory is not None and "memory" not in bounded:
        # Not RLIMIT_AS: node and Java reserve far more address space than they use.
        rlimits.append((resource.RLIMIT_DATA, limits.memory))
    if limits.pids is not None and "pids" not in bounded:
        rlimits.append((resource.RLIMIT_NPROC, limits.pids))
    return rlimits


def _limits_sentence() -> str:
    hierarchy = cgroup.find_hierarchy()
    filters = "seccomp" if seccomp.program() else "no seccomp (libseccomp not found)"
    if hierarchy is None:
        return f"{filters}; limits for each process only, none on CPU (no writable cgroup)"
    return f"{filters}; limits by cgroup v{hierarchy.version}: {', '.join(hierarchy.parents)}"


def _socket_path(plan: BottlePlan) -> Path:
    return plan.state_dir / "exec.sock"


def _listen(plan: BottlePlan) -> socket.socket:
    path = _socket_path(plan)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(64)
    return listener
