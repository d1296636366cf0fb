"""The bubblewrap backend: process sandboxes that need neither a daemon nor root."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.backends.base import ExecRequest
from pytest_bottle.backends.base import Guest
from pytest_bottle.backends.base import Probe
from pytest_bottle.backends.base import Resource
from pytest_bottle.backends.base import silence
from pytest_bottle.backends.bubblewrap import cgroup
from pytest_bottle.backends.bubblewrap import namespaces
from pytest_bottle.backends.bubblewrap import seccomp
from pytest_bottle.backends.bubblewrap import sockets
from pytest_bottle.backends.bubblewrap.binary import find_bwrap
from pytest_bottle.backends.bubblewrap.broker_client import BrokerClient
from pytest_bottle.backends.bubblewrap.image import check_mounts
from pytest_bottle.backends.bubblewrap.image import check_reachable
from pytest_bottle.backends.bubblewrap.image import image_directory
from pytest_bottle.backends.bubblewrap.layout import DEFAULT_DISK
from pytest_bottle.backends.bubblewrap.layout import DEFAULT_PATH
from pytest_bottle.backends.bubblewrap.layout import Account
from pytest_bottle.backends.bubblewrap.layout import image_account
from pytest_bottle.backends.bubblewrap.layout import lay_out
from pytest_bottle.backends.bubblewrap.opening import explain_refusal
from pytest_bottle.backends.bubblewrap.opening import refuses_overlays
from pytest_bottle.backends.bubblewrap.sandbox import BubblewrapSandbox
from pytest_bottle.backends.bubblewrap.sandbox import Keeper
from pytest_bottle.backends.channel.client import Channel
from pytest_bottle.backends.channel.stream import SocketStream
from pytest_bottle.errors import BranchUnsupportedError
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
    golden = False  # Little is provisioned as a rule; see benchmarks/README.md.
    branches_processes = False

    def __init__(self) -> None:
        """Touch nothing yet."""
        self._broker = BrokerClient()
        self._numbers = itertools.count()
        self._refused: set[Path | None] = set()
        """Images over which no overlays can be staged; None stands for the host's programs."""

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
            sandbox = self._launch(plan, None)
            try:
                overlays = self._overlays_sentence(sandbox)
            finally:
                sandbox.stop()
        except CapabilityError as problem:
            return Probe(ok=False, detail=problem.reason, fix=problem.fix)
        except LaunchError as problem:
            detail, fix = explain_refusal(str(problem))
            return Probe(ok=False, detail=detail, fix=fix)
        return Probe(ok=True, detail=f"{bwrap.origin}; {overlays}; {_limits_sentence()}")

    def _overlays_sentence(self, sandbox: BubblewrapSandbox) -> str:
        """Say what of the host's programs the guest can change, for itself."""
        if None in self._refused:
            return "the host's programs are read-only (overlays are refused)"
        owned = sandbox.exec(ExecRequest(argv=("test", "-O", "/bin/sh"), timeout=10)).success
        if os.getuid() == 0 and not owned:
            return "writes go to overlays; files stay their owners' (no idmapped mounts)"
        return "writes go to overlays"

    def prepare(self, plan: BottlePlan, report: Callable[[str], None] = silence) -> None:  # noqa: ARG002
        """Check that the image is a root file system that can be used here."""
        find_bwrap()
        image = image_directory(plan)
        if image is not None and not os.path.lexists(image / "bin/sh"):
            raise CapabilityError(
                self.name,
                reason=f"image {image} has no /bin/sh, so it is no root file system",
                fix="name a directory made by debootstrap or by `docker export`",
            )
        if image is not None:
            check_reachable(image)
            check_mounts(image)
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
        """Launch; once more, and from then on, without staged overlays where they are refused."""
        image = image_directory(plan)
        if image not in self._refused:
            try:
                return self._launch_once(plan, hierarchy, image, staged=True)
            except LaunchError as problem:
                if not refuses_overlays(str(problem)):
                    raise
            self._refused.add(image)
        return self._launch_once(plan, hierarchy, image, staged=False)

    def _launch_once(
        self,
        plan: BottlePlan,
        hierarchy: cgroup.Hierarchy | None,
        image: Path | None,
        *,
        staged: bool,
        source: Keeper | None = None,
    ) -> BubblewrapSandbox:
        account = _account(plan, image)
        uid = _unprivileged_uid(next(self._numbers)) if os.getuid() == 0 else None
        if source is not None and not namespaces.may_mount():
            uid = source.uid  # Nobody else may look into it then.
        rlimits = _rlimits(plan.limits, hierarchy)
        env = _environment(plan, account)
        request = self._request(
            plan, account, uid=uid, rlimits=rlimits, env=env, image=image, staged=staged
        )
        request["source"] = None if source is None else _source(source)
        paths = hierarchy.paths(plan.name) if hierarchy else []
        # What the keeper gets copies of is closed here in any case, the rest only on failure.
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as handed_over:
            groups = _make_groups(plan, hierarchy)
            undo.callback(cgroup.remove, paths)
            for fd in groups:
                handed_over.callback(os.close, fd)
            listeners = []
            if plan.shared:
                listeners.append(handed_over.enter_context(sockets.listen(_socket_path(plan), 64)))
                undo.callback(_socket_path(plan).unlink, missing_ok=True)
            reply, connection = self._broker.launch(
                request, [*(one.fileno() for one in listeners), *groups]
            )
            undo.callback(connection.close)
            keeper = Keeper(
                owner=_owner(reply["keeper"]),
                init=reply["init"],
                outer=reply["outer"],
                trees=_targets(request["stage"]),
                still=plan.template,
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
        staged: bool,
    ) -> dict[str, Any]:
        """Return the broker's request; `broker.Keeper` lists the keys."""
        bwrap = find_bwrap()
        layout = lay_out(
            account=account,
            hostname=plan.name,
            workdir=plan.workdir,
            disk=plan.limits.disk,
            image=image,
            staged=staged,
        )
        return {
            "bwrap": str(bwrap.path),
            "library_path": str(bwrap.library_path) if bwrap.library_path else None,
            "arguments": layout.arguments,
            "files": layout.files,
            "stage": layout.stage,
            "uid": uid,
            "gid": uid,
            "seccomp": seccomp.program().decode("latin-1"),
            "rlimits": list(rlimits),
            "env": env,
            "workdir": plan.workdir,
            "listens": plan.shared,
        }

    def branch(self, plan: BottlePlan, reference: Mapping[str, Any]) -> BubblewrapSandbox:
        """Start a sandbox with another one's files; see `Branching`."""
        source = Keeper.from_json(reference["keeper"])
        if source.trees is None:
            raise BranchUnsupportedError(
                self.name,
                reason="this host stages no overlays, whose files could be carried over.",
                remedy="`pytest-bottle doctor` says why; or use the docker backend.",
            )
        owner = Owner.decode(source.owner)
        if not owner.alive():
            raise SandboxLostError(source.lost_sentence())
        image, hierarchy = image_directory(plan), cgroup.find_hierarchy()
        try:
            sandbox = self._launch_once(plan, hierarchy, image, staged=True, source=source)
        except LaunchError as problem:
            if owner.alive():
                raise
            raise SandboxLostError(source.lost_sentence()) from problem
        if not owner.alive():  # Its pids may have been another's when they were used.
            sandbox.stop()
            raise SandboxLostError(source.lost_sentence())
        return sandbox

    def attach(self, plan: BottlePlan, reference: Mapping[str, Any]) -> BubblewrapSandbox:
        """Connect to a sandbox that another process launched."""
        keeper = Keeper.from_json(reference["keeper"])
        try:
            connection = sockets.connect(Path(str(keeper.socket)))
        except OSError as problem:
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


def _targets(stage: Mapping[str, Any] | None) -> tuple[str, ...] | None:
    return None if stage is None else tuple(tree["target"] for tree in stage["trees"])


def _source(keeper: Keeper) -> dict[str, Any]:
    """Return what the broker has to know of a sandbox to branch; see `Carrier`."""
    uid = os.getuid() if keeper.uid is None else keeper.uid
    gid = os.getgid() if keeper.gid is None else keeper.gid
    return {
        "outer": keeper.outer,
        "init": keeper.init,
        "keeper": Owner.decode(keeper.owner).pid,
        "still": keeper.still,
        "trees": keeper.trees,
        "owner": (uid, gid),
    }


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
