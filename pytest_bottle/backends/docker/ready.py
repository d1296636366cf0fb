"""The image that containers start from: the user's, and one thin layer that bottles need.

The layer holds the working directory, owned by the sandbox's user: the engine would make it root's.
Made once per image, it saves each launch a call that costs as much as half a launch.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import tarfile
import time
from dataclasses import asdict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.backends.docker.engine import NOT_FOUND
from pytest_bottle.backends.docker.engine import EngineError
from pytest_bottle.backends.docker.engine import translated
from pytest_bottle.errors import CapabilityError
from pytest_bottle.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.backends.docker.engine import Engine
    from pytest_bottle.backends.docker.image import BaseImage
    from pytest_bottle.plan import BottlePlan

READY: Final = "pytest-bottle-ready"
"""Repository of the images with our layer; the tag is the digest of what it depends on."""

ACCOUNT_LABEL: Final = "pytest-bottle.account"
BASE_LABEL: Final = "pytest-bottle.base"

_LAYER_VERSION: Final = 1
_PASSWD_FIELDS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The sandbox's user, as the image knows it."""

    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyImage:
    """What a container of a plan starts from."""

    reference: str
    base: BaseImage
    account: Account

    @property
    def env(self) -> Mapping[str, str]:
        """The image's own environment."""
        return self.base.env


def ready_image(engine: Engine, base: BaseImage, plan: BottlePlan) -> ReadyImage:
    """Return the image with our layer, made where the engine does not have it yet.

    Raises:
        CapabilityError: the image has no such user.
        ImageError: the engine refused to make the layer.
        EngineError
    """
    user = plan.user or base.user or "0"
    identity = json.dumps([_LAYER_VERSION, base.id, user, plan.workdir])
    reference = f"{READY}:{hashlib.sha256(identity.encode()).hexdigest()[:20]}"
    found = engine.inspect_image(reference)
    if found is None:
        account = _make(engine, base, user, plan.workdir, reference)
    else:
        account = Account(**json.loads(found["Config"]["Labels"][ACCOUNT_LABEL]))
    return ReadyImage(reference=reference, base=base, account=account)


def _make(engine: Engine, base: BaseImage, user: str, workdir: str, reference: str) -> Account:
    """Create a container, never started; put the layer's files in it; commit it."""
    try:
        # Without a name of ours and a label of a run: it is gone before this returns.
        with translated():
            made = engine.api.create_container(base.id, ["true"], network_disabled=True)
    except EngineError as problem:
        raise _refused(base, problem) from problem
    container = str(made["Id"])
    try:
        passwd = _read_file(engine, container, "/etc/passwd")
        group = _read_file(engine, container, "/etc/group")
        account = find_account(user, passwd, group)
        if account is None:
            raise CapabilityError(
                "docker",
                reason=f"image {base.name!r} has no user {user!r}.",
                fix="name a user of its /etc/passwd, or a uid",
            )
        labels = {ACCOUNT_LABEL: json.dumps(asdict(account)), BASE_LABEL: base.name}
        mode = _mode(engine, container, workdir)
        repository, _, tag = reference.partition(":")
        with translated():
            engine.api.put_archive(container, "/", _layer(workdir, mode, account))
            engine.api.commit(container, repository, tag, pause=False, conf={"Labels": labels})
    except EngineError as problem:
        raise _refused(base, problem) from problem
    finally:
        engine.remove(container, deadline=10)
    return account


def _refused(base: BaseImage, problem: EngineError) -> ImageError:
    return ImageError(
        base.name,
        reason=f"the engine cannot add the bottle's layer to it: {str(problem).rstrip('.')}.",
        remedy="Check the image's platform and the engine's disk.",
    )


def find_account(user: str, passwd: str, group: str) -> Account | None:
    """Resolve a Dockerfile's USER (`name`, `uid`, either with `:group`) as the engine does."""
    wanted, _, wanted_group = user.partition(":")
    account = None
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) >= _PASSWD_FIELDS and wanted in {fields[0], fields[2]}:
            account = Account(
                name=fields[0], uid=int(fields[2]), gid=int(fields[3]), home=fields[5] or "/"
            )
            break
    if account is None:
        if not wanted.isdigit():
            return None
        name = "root" if int(wanted) == 0 else wanted
        home = "/root" if int(wanted) == 0 else "/"
        account = Account(name=name, uid=int(wanted), gid=0, home=home)
    if not wanted_group:
        return account
    for line in group.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and wanted_group in {fields[0], fields[2]}:  # noqa: PLR2004 - the gid
            return Account(
                name=account.name, uid=account.uid, gid=int(fields[2]), home=account.home
            )
    if not wanted_group.isdigit():
        return None
    return Account(name=account.name, uid=account.uid, gid=int(wanted_group), home=account.home)


def _read_file(engine: Engine, container: str, path: str) -> str:
    """Return a file of a container, nothing where it has none."""
    try:
        with translated():
            chunks, _ = engine.api.get_archive(container, path)
            data = io.BytesIO(b"".join(chunks))
    except EngineError as problem:
        if problem.status == NOT_FOUND:
            return ""
        raise
    with tarfile.open(fileobj=data) as archive:
        file = archive.extractfile(archive.next() or tarfile.TarInfo())
        return file.read().decode(errors="replace") if file else ""


def _mode(engine: Engine, container: str, path: str) -> int | None:
    """Return a directory's permission bits, None where it does not exist."""
    try:
        with translated():
            chunks, stat = engine.api.get_archive(container, path)
            chunks.close()
    except EngineError as problem:
        if problem.status == NOT_FOUND:
            return None
        raise
    # Go's FileMode: the nine bits as everywhere, the sticky bit elsewhere.
    sticky = 0o1000 if stat["mode"] & (1 << 20) else 0
    return (int(stat["mode"]) & 0o777) | sticky


def _layer(workdir: str, mode: int | None, account: Account) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        path = posixpath.normpath(workdir).lstrip("/")
        if path:
            directory = tarfile.TarInfo(path)
            directory.type = tarfile.DIRTYPE
            directory.mtime = int(time.time())
            directory.mode = 0o755 if mode is None else mode
            directory.uid, directory.gid = account.uid, account.gid
            archive.addfile(directory)
    return data.getvalue()
