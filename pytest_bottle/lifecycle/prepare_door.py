"""Resolves what a bottle declares of its door: egress, git gate, supervise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_bottle.door_plan import AllowPlan
from pytest_bottle.door_plan import CredentialPlan
from pytest_bottle.door_plan import DoorPlan
from pytest_bottle.door_plan import EgressPlan
from pytest_bottle.door_plan import GitGatePlan
from pytest_bottle.door_plan import RemotePlan
from pytest_bottle.door_plan import RoutePlan
from pytest_bottle.door_plan import SupervisePlan
from pytest_bottle.errors import MarkerError
from pytest_bottle.lifecycle.place import in_manifest
from pytest_bottle.lifecycle.sources import resolve
from pytest_bottle.web_values import split_port

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.lifecycle.spec import Spec
    from pytest_bottle.manifest import Manifest
    from pytest_bottle.schema import AllowTable
    from pytest_bottle.schema import AuthTable
    from pytest_bottle.schema import BottleTable
    from pytest_bottle.schema import EgressTable
    from pytest_bottle.schema import GitTable
    from pytest_bottle.schema import RemoteTable


def prepare_door(
    spec: Spec,
    manifest: Manifest,
    *,
    bottle: str,
    table: BottleTable,
    shared: bool,
    environ: Mapping[str, str],
) -> DoorPlan:
    """Return what the bottle may use of its door.

    Args:
        spec: What the test asks for; its `egress` takes the place of the manifest's `allow`.
        manifest: What the table is from.
        bottle: The bottle's name there.
        table: The bottle's table.
        shared: Whether several workers attach to it.
        environ: Where the credentials' values are.

    Raises:
        ManifestError: a credential's variable is not set, or a repository cannot be used.
        MarkerError: several workers would share one door.
    """
    supervise = table.supervise
    door = DoorPlan(
        egress=_egress(table.egress, spec.egress),
        git=None if table.git is None else _git(table.git, manifest, bottle),
        supervise=None
        if supervise is None
        else SupervisePlan(timeout=supervise.timeout, on_timeout=supervise.on_timeout),
    )
    if shared and door.kinds:
        problem = f"scope='run' shares a bottle among workers, and {door.kinds[0]} has one test."
        remedy = "Take scope='session': a bottle for each worker."
        raise MarkerError(problem, node=spec.node, remedy=remedy)
    _check_credentials(table, manifest, bottle, environ)
    return door


def _egress(table: EgressTable | None, marked: tuple[str, ...] | None) -> EgressPlan | None:
    # A network past the proxy asks for no proxy.
    if table is None or table.model_fields_set == {"network"}:
        if marked is None:
            return None
        return EgressPlan(allow=tuple(_allow(host) for host in sorted(set(marked))))
    allow = table.allow if marked is None else ()
    rules = {_allow(one.host, one) for one in allow} | {_allow(host) for host in marked or ()}
    return EgressPlan(
        allow=tuple(sorted(rules, key=str)),
        routes=tuple(
            RoutePlan(to=_allow(route.host, route), auth=_credential(route.auth))
            for route in table.routes
        ),
        dlp=table.dlp,
        mode=table.mode,
        upstream=table.upstream,
    )


def _allow(host: str, table: AllowTable | None = None) -> AllowPlan:
    name, port = split_port(host)
    return AllowPlan(
        host=name,
        port=port,
        methods=tuple(sorted(set(table.methods))) if table else (),
        paths=tuple(sorted(set(table.paths))) if table else (),
    )


def _credential(auth: AuthTable) -> CredentialPlan:
    return CredentialPlan(
        token_ref=auth.token_ref,
        scheme=auth.scheme,
        username=auth.username or "",
        header=auth.header or "",
    )


def _git(table: GitTable, manifest: Manifest, bottle: str) -> GitGatePlan:
    return GitGatePlan(
        user_name=None if table.user is None else table.user.name,
        user_email=None if table.user is None else table.user.email,
        remotes=tuple(
            _remote(name, remote, manifest, bottle)
            for name, remote in sorted(table.remotes.items())
        ),
    )


def _remote(name: str, table: RemoteTable, manifest: Manifest, bottle: str) -> RemotePlan:
    url = table.url
    place = in_manifest(manifest, "bottles", bottle, "git", "remotes", name, "url")
    if url is not None:
        scheme = urlsplit(url).scheme if "://" in url else ""
        parts = urlsplit(url if scheme else "")
        if parts.password or (scheme in {"https", "http"} and parts.username):
            problem = "has a name or a password in it, and a manifest is no place for one."
            raise place.error(problem, remedy="Name a variable with auth.token_ref instead.")
        if scheme not in {"https", "http", "ssh", ""}:
            problem = f"has the scheme {scheme}, by which the gate reaches nothing."
            raise place.error(problem, remedy="Write an https or ssh URL, or a path on this host.")
        if url.startswith("-"):
            raise place.error("must not begin with `-`.", remedy="Write `./` before a path.")
        if not scheme and not _is_scp(url):
            path = resolve(Path(url), manifest.directory)
            if not path.is_dir():
                problem = f"there is no repository {path} on this host."
                raise place.error(problem, remedy="Correct the path, or leave out `url`.")
            url = str(path)
    if table.auth is not None and (url is None or not url.startswith("https://")):
        problem = "a credential is put on for https URLs only."
        raise in_manifest(manifest, "bottles", bottle, "git", "remotes", name, "auth").error(
            problem, remedy="Remove it; ssh takes this user's own keys and agent."
        )
    return RemotePlan(
        name=name,
        url=url,
        credential=None if table.auth is None else _credential(table.auth),
        allow_push=tuple(sorted(set(table.allow_push))),
    )


def _is_scp(url: str) -> bool:
    """Tell whether a URL has git's short form for ssh, `user@host:path`."""
    host, colon, _ = url.partition(":")
    return bool(colon) and "/" not in host


def _check_credentials(
    table: BottleTable, manifest: Manifest, bottle: str, environ: Mapping[str, str]
) -> None:
    places: list[tuple[Sequence[str], AuthTable]] = []
    for number, route in enumerate(table.egress.routes if table.egress else ()):
        places.append((("egress", "routes", str(number), "auth", "token_ref"), route.auth))
    for name, remote in table.git.remotes.items() if table.git else ():
        if remote.auth:
            places.append((("git", "remotes", name, "auth", "token_ref"), remote.auth))
    for key, auth in places:
        if not environ.get(auth.token_ref):
            problem = f"the environment variable {auth.token_ref} is not set on this host."
            place = in_manifest(manifest, "bottles", bottle, *key)
            raise place.error(problem, remedy=f"Export {auth.token_ref}, or correct the name.")
