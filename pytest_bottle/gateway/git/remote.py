"""One remote of one bottle: its mirror, and the upstream that this is brought up to date from."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import asdict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.errors import DoorError
from pytest_bottle.gateway.git.repository import Repository
from pytest_bottle.gateway.git.repository import refs_to_mirror
from pytest_bottle.gateway.git.repository import refspecs
from pytest_bottle.gateway.git.upstream import environment_for
from pytest_bottle.gateway.git.upstream import said

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_bottle.door_plan import RemotePlan

UPSTREAM_TIMEOUT: Final = 600.0
"""Seconds for one fetch from an upstream, or one push to it; what stalls is given up earlier."""


class UnreachableError(Exception):
    """The upstream did not answer as a repository; says what git said."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an upstream made of a push."""

    refused: dict[str, str]
    """By ref, why; empty where it took all of them."""
    words: str = ""
    """What it had to say to whoever pushes."""


class Upstream:
    """A real repository, and what the run has fetched from it: once for all of its bottles."""

    def __init__(
        self, remote: RemotePlan, token: str, environ: Mapping[str, str], directory: Path
    ) -> None:
        """Reach nobody yet.

        Args:
            remote: One with a URL.
            token: The value of its credential.
            environ: By which variables it is reached.
            directory: Where the run keeps what it fetched.
        """
        self._remote = remote
        self._token = token
        self._environ = environ
        self.repository: Final = Repository(directory)
        self._lock = asyncio.Lock()

    def make(self) -> None:
        """Make the repository that keeps what was fetched, if there is none yet.

        Raises:
            OSError: it could not be written.
        """
        if not self.repository.path.exists():
            self.repository.make()

    async def look(self) -> tuple[str, dict[str, str]]:
        """Fetch what is new; return the ref of HEAD, and all refs.

        Raises:
            UnreachableError: it did not answer as a repository.
        """
        url = str(self._remote.url)
        async with self._lock:
            head, refs = refs_to_mirror(await self._git("ls-remote", "--symref", "--", url))
            # HEAD and refs are asked for alone: most fetches find nothing new.
            if refs != await self.repository.refs():
                await self._git(
                    *("fetch", "--quiet", "--prune", "--no-tags", "--force", "--update-shallow"),
                    *("--no-write-fetch-head", "--", url, *refspecs()),
                )
                refs = await self.repository.refs()
            return head, refs

    async def _git(self, *arguments: str) -> bytes:
        env = environment_for(self._remote, self._token, self._environ)
        try:
            done = await self.repository.git(*arguments, env=env, timeout=UPSTREAM_TIMEOUT)
        except DoorError as error:
            raise UnreachableError(str(error)) from error
        if done.returncode != 0:
            raise UnreachableError(said(done.stderr, self._remote, self._token))
        return done.stdout

    async def push(
        self, mirror: Repository, updates: dict[str, str], objects: dict[str, str]
    ) -> Outcome:
        """Push objects to refs, all of them or none; never by force.

        Args:
            mirror: The repository that has them.
            updates: The new object of each ref.
            objects: Variables that say where git finds those that are still in quarantine.

        Raises:
            UnreachableError: it did not answer as a repository.
        """
        env = {**environment_for(self._remote, self._token, self._environ), **objects}
        atomic = ["--atomic"] if len(updates) > 1 else []
        specs = [f"{new}:{ref}" for ref, new in updates.items()]
        try:
            done = await mirror.git(
                *("push", "--porcelain", "--no-verify", *atomic, "--", str(self._remote.url)),
                *specs,
                env=env,
                timeout=UPSTREAM_TIMEOUT,
            )
        except DoorError as error:
            raise UnreachableError(str(error)) from error
        refused = _refused(done.stdout.decode(errors="surrogateescape"))
        if done.returncode != 0 and not refused:
            raise UnreachableError(said(done.stderr, self._remote, self._token))
        stderr = done.stderr.decode(errors="replace").splitlines()
        words = "\n".join(line for line in stderr if line.startswith("remote:"))
        return Outcome(refused, said(words.encode(), self._remote, self._token) if words else "")


_upstreams: Final[dict[tuple[str, str], Upstream]] = {}
"""Of this process, by directory and identity."""


def upstream_of(
    remote: RemotePlan, token: str, environ: Mapping[str, str], directory: Path
) -> Upstream:
    """Return what the run has of a remote's upstream; who comes another way has another one.

    Args:
        remote: One with a URL.
        token: The value of its credential.
        environ: By which variables it is reached.
        directory: The run's.
    """
    identity = {**asdict(remote), "name": "", "allow_push": (), "token": token}
    identity["environ"] = dict(environ)
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]
    key = (str(directory), digest)
    if key not in _upstreams:
        path = directory / "git" / f"{digest}.git"
        _upstreams[key] = Upstream(remote, token, environ, path)
    return _upstreams[key]


class Remote:
    """A remote of a bottle."""

    def __init__(self, plan: RemotePlan, directory: Path, upstream: Upstream | None) -> None:
        """Reach nobody yet; `make` makes the mirror.

        Args:
            plan: What the bottle declares.
            directory: The bottle's, for mirrors.
            upstream: What it stands for; None where it is the test's own.
        """
        self.plan: Final = plan
        self.allow_push = list(plan.allow_push)
        self.upstream: Final = upstream
        self.mirror: Final = Repository(directory / f"{plan.name}.git")
        self.changing: Final = asyncio.Lock()
        """Held by who changes refs: one push at a time, and none while they are brought up."""
        self.looked = upstream is None
        """Whether the mirror has been brought up to date, ever."""

    def make(self) -> None:
        """Make the mirror, empty.

        Raises:
            OSError: it could not be written.
        """
        if self.upstream is None:
            self.mirror.make()
        else:
            self.upstream.make()
            self.mirror.make(borrow_from=self.upstream.repository.path)

    async def refresh(self) -> None:
        """Bring the mirror up to date.

        Raises:
            UnreachableError: the upstream did not answer as a repository.
            DoorError: git failed.
        """
        if self.upstream is None:
            return
        async with self.changing:
            head, refs = await self.upstream.look()
            await self.mirror.set_refs(refs)
            if head and head != await self.mirror.head():
                await self.mirror.set_head(head)
            self.looked = True


def _refused(porcelain: str) -> dict[str, str]:
    """Return what `git push --porcelain` says was not taken, and why."""
    refused = {}
    for line in porcelain.splitlines():
        flag, _, rest = line.partition("\t")
        if flag == "!":
            names, _, summary = rest.partition("\t")
            refused[names.partition(":")[2]] = _reason(summary)
    return refused


def _reason(summary: str) -> str:
    words = summary.partition("(")[2].rpartition(")")[0] or summary
    if words in {"fetch first", "non-fast-forward", "stale info"}:
        return "non-fast-forward: the upstream has moved, fetch first"
    return f"by the upstream: {words}"
