"""Provisions git: who the agent is, and that its remotes are reached through the git gate."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.guest_door import GIT_URL
from pytest_bottle.guest_door import PASS_VARIABLE
from pytest_bottle.guest_door import USER
from pytest_bottle.provision.steps import PutFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Sequence

    from pytest_bottle.door_plan import GitGatePlan
    from pytest_bottle.plan import BottlePlan
    from pytest_bottle.provision.steps import GuestPaths
    from pytest_bottle.provision.steps import Step

# The pass is each bottle's own, also where many are branched from one: it is not in the file.
_HELPER: Final = f'"!f() {{ echo username={USER}; echo \\"password=${PASS_VARIABLE}\\"; }}; f"'


def provision_git(plan: BottlePlan, guest: GuestPaths) -> Sequence[Step]:
    """Return the step that writes the guest user's git configuration; none where it has none."""
    if plan.door.git is None:
        return ()
    text = "".join(f"{line}\n" for line in _lines(plan.door.git))
    path = posixpath.join(guest.home, ".gitconfig")
    return (PutFile(path=path, content=text.encode(), mode=0o644),)


def _lines(git: GitGatePlan) -> Iterator[str]:
    if git.user_name is not None and git.user_email is not None:
        yield "[user]"
        yield f"\tname = {_quoted(git.user_name)}"
        yield f"\temail = {_quoted(git.user_email)}"
    if git.remotes:
        yield f'[credential "{GIT_URL}"]'
        yield f"\thelper = {_HELPER}"
        # Not through the proxy, which is for what is outside.
        yield f'[http "{GIT_URL}"]'
        yield '\tproxy = ""'
    for remote in git.remotes:
        if remote.url is not None:
            yield f'[url "{GIT_URL}/{remote.name}"]'
            for url in _spellings(remote.url, git):
                yield f"\tinsteadOf = {_quoted(url)}"


def _spellings(url: str, git: GitGatePlan) -> Iterator[str]:
    """Yield a URL as it is, and without its `.git`: the gate knows what is written after that."""
    yield url
    if url.startswith("/"):
        # `git clone` takes a path only where there is something; with the scheme it asks nobody.
        yield f"file://{url}"
    short = url.rstrip("/").removesuffix(".git")
    if short not in {remote.url for remote in git.remotes}:
        yield short


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
