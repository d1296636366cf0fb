"""The git gate of one bottle, as its test holds it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle import process
from pytest_bottle.errors import DoorError
from pytest_bottle.errors import UnsafePathError
from pytest_bottle.gateway.git.environment import GIT
from pytest_bottle.gateway.git.environment import plain_environment
from pytest_bottle.gateway.git.values import Failure
from pytest_bottle.gateway.git.values import Fetch
from pytest_bottle.gateway.git.values import Push
from pytest_bottle.gateway.git.values import push_from_record
from pytest_bottle.guest_door import GIT_URL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.door_plan import GitGatePlan
    from pytest_bottle.door_plan import RemotePlan
    from pytest_bottle.gateway.gate_client import GateClient

MAIN: Final = "refs/heads/main"

_TIMEOUT: Final = 300.0
"""Seconds for one git command on this host."""

_SEEDER: Final = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "pytest-bottle"), ("EMAIL", "seed@pytest-bottle.invalid"))
}


class Git:
    """What a bottle's agent fetched and pushed, and the repositories behind that.

    Where the bottle declares one remote, `remote` may be left out everywhere.
    """

    def __init__(self, client: GateClient, plan: GitGatePlan) -> None:
        """Not for callers: `Bottle.git` is one."""
        self._client = client
        self._remotes: dict[str, RemotePlan] = {remote.name: remote for remote in plan.remotes}

    def __repr__(self) -> str:
        """Return its remotes."""
        return f"<Git {', '.join(self._remotes)}>"

    @property
    def pushed(self) -> list[Push]:
        """Refs that were pushed in this test, and reached their repository, oldest first.

        Raises:
            DoorError: the door is gone, and there may be more.
        """
        return [
            push_from_record(record)
            for record in self._client.records()
            if record["kind"] == "pushed"
        ]

    @property
    def rejected(self) -> list[Push]:
        """Refs whose push was rejected in this test, oldest first.

        Raises:
            DoorError: the door is gone, and there may be more.
        """
        return [
            push_from_record(record)
            for record in self._client.records()
            if record["kind"] == "rejected"
        ]

    @property
    def fetched(self) -> list[Fetch]:
        """Fetches of this test that brought objects, oldest first.

        Raises:
            DoorError: the door is gone, and there may be more.
        """
        return [
            Fetch(record["remote"], record["time"], tuple(record["refs"]))
            for record in self._records("fetched")
        ]

    @property
    def failed(self) -> list[Failure]:
        """Fetches of this test that found no upstream, oldest first.

        Raises:
            DoorError: the door is gone, and there may be more.
        """
        return [
            Failure(record["remote"], record["time"], record["reason"])
            for record in self._records("failed")
        ]

    def url(self, remote: str | None = None) -> str:
        """Return the URL by which the guest's git reaches a remote.

        It is the real one. For a path on this host, and for a repository of the test's own, it is
        that of the gate: git clones no path that is not there.

        Raises:
            ValueError: there is none of that name, or there are several and none is named.
        """
        plan = self._plan(remote)
        own = plan.url is None or plan.url.startswith("/")
        return f"{GIT_URL}/{plan.name}" if own else str(plan.url)

    def allow_push(self, ref: str, remote: str | None = None) -> None:
        """Allow pushes to a ref, or to a pattern of refs, from now on.

        Args:
            ref: A full name, in which `*` stands for anything: `refs/heads/agent/*`.
            remote: Which remote.

        Raises:
            ValueError: there is no such remote.
            DoorError: the door is gone, or that is no ref's full name.
        """
        self._client.call("allow_push", remote=self._plan(remote).name, ref=ref)

    def seed(self, path: str | os.PathLike[str], remote: str | None = None) -> None:
        """Fill a repository of the test's own.

        A git repository gives its branches and tags, as they are committed. Any other directory
        becomes a commit on `main`, on top of what is there, with exactly its files.

        Args:
            path: A directory on the host.
            remote: Which remote; one without a `url`.

        Raises:
            ValueError: there is no such remote, or it has an upstream.
            FileNotFoundError: there is no such directory.
            UnsafePathError: a symbolic link leads out of it.
            DoorError: the door is gone, or git failed.
        """
        plan = self._plan(remote)
        if plan.url is not None:
            message = f"remote {plan.name} stands for {plan.url}, and cannot be seeded"
            raise ValueError(message)
        source = Path(path).absolute()
        if not source.is_dir():
            message = f"no directory {source}"
            raise FileNotFoundError(message)
        repository = self.repository(plan.name)
        if _is_repository(source):
            specs = (f"+refs/{kind}/*:refs/{kind}/*" for kind in ("heads", "tags"))
            self._take_refs(repository, source, tuple(specs))
        else:
            self._commit(repository, source)

    def take_over(self, other: Git) -> None:
        """Have in repositories of the test's own what another bottle's have; for branches of it.

        Raises:
            DoorError: the door is gone, or git failed.
        """
        for name, plan in self._remotes.items():
            if plan.url is None:
                source = other.repository(name)
                self._take_refs(self.repository(name), source, ("+refs/*:refs/*",))

    def repository(self, remote: str | None = None) -> Path:
        """Return a remote's bare repository on the host, which goes with the bottle.

        That of an upstream is its mirror, as of the last fetch or push.

        Raises:
            ValueError: there is no such remote.
            DoorError: the door is gone.
        """
        return Path(self._client.call("repository", remote=self._plan(remote).name)["path"])

    def refs(self, remote: str | None = None) -> dict[str, str]:
        """Return the refs of a remote, by their full names, and what they name.

        Raises:
            ValueError: there is no such remote.
            DoorError: the door is gone, or git failed.
        """
        listed = _git(
            self.repository(remote), "for-each-ref", "--format=%(objectname) %(refname)"
        ).decode(errors="surrogateescape")
        pairs = (line.partition(" ") for line in listed.splitlines())
        return {ref: name for name, _, ref in pairs}

    def tree(self, ref: str = MAIN, remote: str | None = None) -> dict[str, bytes]:
        """Return all files that a ref has, by their paths; a symbolic link is its target.

        Raises:
            ValueError: there is no such remote.
            LookupError: there is no such ref.
            DoorError: the door is gone, or git failed.
        """
        repository = self.repository(remote)
        listed = _git(repository, "ls-tree", "-r", "-z", self._found(repository, ref))
        paths: list[tuple[str, str]] = []
        for entry in listed.decode(errors="surrogateescape").split("\0")[:-1]:
            kind, _, path = entry.partition("\t")
            if kind.split()[1] == "blob":
                paths.append((path, kind.split()[2]))
        asked = "".join(f"{name}\n" for _, name in paths).encode()
        answer = _git(repository, "cat-file", "--batch", input=asked)
        files, position = {}, 0
        for path, _ in paths:
            end = answer.index(b"\n", position)
            size = int(answer[position:end].split()[2])
            files[path] = answer[end + 1 : end + 1 + size]
            position = end + size + 2
        return files

    def read(self, path: str, ref: str = MAIN, remote: str | None = None) -> bytes:
        """Return a file that a ref has.

        Raises:
            ValueError: there is no such remote.
            LookupError: there is no such ref.
            FileNotFoundError: it has no such file.
            DoorError: the door is gone.
        """
        repository = self.repository(remote)
        found = self._found(repository, ref)
        try:
            return _git(repository, "cat-file", "blob", f"{found}:{path}")
        except DoorError:
            message = f"{ref} has no file {path}"
            raise FileNotFoundError(message) from None

    def _records(self, kind: str) -> list[dict[str, Any]]:
        return [record for record in self._client.records() if record["kind"] == kind]

    def _plan(self, remote: str | None) -> RemotePlan:
        if remote is None and len(self._remotes) == 1:
            return next(iter(self._remotes.values()))
        if remote is None or remote not in self._remotes:
            known = ", ".join(sorted(self._remotes))
            asked = "name one with remote=" if remote is None else f"none is called {remote!r}"
            message = f"the bottle's remotes are {known}: {asked}"
            raise ValueError(message)
        return self._remotes[remote]

    def _found(self, repository: Path, ref: str) -> str:
        """Return the commit that a ref names."""
        with contextlib.suppress(DoorError):
            name = _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", ref)
            return name.decode().strip()
        listed = _git(repository, "for-each-ref", "--format=%(refname)").decode(errors="replace")
        message = f"there is no {ref}; there are {', '.join(listed.split()) or 'no refs yet'}"
        raise LookupError(message)

    def _take_refs(self, repository: Path, source: Path, specs: tuple[str, ...]) -> None:
        env = {**plain_environment(), "GIT_ALLOW_PROTOCOL": "file"}
        _git(
            repository,
            *("fetch", "--quiet", "--no-tags", "--update-shallow", "--no-write-fetch-head"),
            *("--", str(source), *specs),
            env=env,
        )
        with contextlib.suppress(DoorError):  # Its HEAD may name a commit, and no branch.
            head = _git(source, "symbolic-ref", "HEAD", below=True).decode().strip()
            _git(repository, "symbolic-ref", "HEAD", head)

    def _commit(self, repository: Path, source: Path) -> None:
        _refuse_leading_out(source)
        index = repository / f"index.{os.urandom(8).hex()}"
        env = {**plain_environment(), **_SEEDER, "GIT_INDEX_FILE": str(index)}
        try:
            _git(repository, f"--work-tree={source}", "add", "--all", "--force", "--", ".", env=env)
            tree = _git(repository, "write-tree", env=env).decode().strip()
        finally:
            index.unlink(missing_ok=True)
        with contextlib.suppress(LookupError):
            parent = ["-p", self._found(repository, MAIN)]
            new = _git(repository, "commit-tree", tree, *parent, "-m", "Seed", env=env)
            _git(repository, "update-ref", MAIN, new.decode().strip())
            return
        new = _git(repository, "commit-tree", tree, "-m", "Seed", env=env)
        _git(repository, "update-ref", MAIN, new.decode().strip())


def _git(
    repository: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    input: bytes | None = None,  # noqa: A002 - as `process.run`
    below: bool = False,
) -> bytes:
    """Run git in a repository of the gate's; `below` in the one that a directory is the top of.

    Raises:
        DoorError: it failed.
    """
    where = ["-C", str(repository)] if below else [f"--git-dir={repository}"]
    own = {**(plain_environment() if env is None else env)}
    own["GIT_CEILING_DIRECTORIES"] = str(repository.parent)
    try:
        done = process.run(
            [GIT, *where, *arguments], timeout=_TIMEOUT, input=input, env=own, cwd=repository
        )
    except (OSError, TimeoutError) as error:
        raise DoorError(f"cannot run git {arguments[0]} in {repository}: {error}") from error
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip()[-500:]
        raise DoorError(f"failed to run git {arguments[0]}: {words}")
    return done.stdout


def _is_repository(directory: Path) -> bool:
    """Tell whether a directory is the top of a git repository, and not merely inside of one."""
    try:
        found = _git(directory, "rev-parse", "--git-dir", below=True)
    except DoorError:
        return False
    return found.strip() in {b".", b".git"} or (directory / ".git").is_file()


def _refuse_leading_out(directory: Path) -> None:
    """Refuse a directory with a link to what is outside of it.

    Raises:
        UnsafePathError: naming the link.
    """
    top = directory.resolve()
    for parent, directories, files in os.walk(top):
        for name in (*directories, *files):
            path = Path(parent, name)
            if path.is_symlink() and not path.resolve().is_relative_to(top):
                reason = "a symbolic link of what is seeded leads out of it"
                raise UnsafePathError(str(path), reason=reason)
