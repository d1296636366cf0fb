"""What a bottle may use of its door, resolved on the host: egress, git gate, supervise.

Values of credentials are not in it, only the names of the host's variables that hold them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any
from typing import Final
from typing import Literal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Mapping

EgressMode = Literal["deny", "log"]
AuthScheme = Literal["bearer", "basic", "header"]
OnTimeout = Literal["reject", "approve"]

WEB_PORTS: Final = (80, 443)
"""The ports of a rule that names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowPlan:
    """Requests that may leave a bottle."""

    host: str
    """In lower case; `*.example.org` is all hosts below example.org, and not that one itself."""
    port: int | None = None
    """None is any of `WEB_PORTS`."""
    methods: tuple[str, ...] = ()
    """In upper case; none is all of them."""
    paths: tuple[str, ...] = ()
    """Prefixes, by whole segments (`/repos/acme` is not `/repos/acmeco`); none is all paths."""

    def __str__(self) -> str:
        """Return it as a person would write it."""
        port = "" if self.port is None else f":{self.port}"
        methods = f"{','.join(self.methods)} " if self.methods else ""
        return f"{methods}{self.host}{port}{','.join(self.paths)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialPlan:
    """A credential that is put on outside of the bottle."""

    token_ref: str
    """The host's environment variable that holds it."""
    scheme: AuthScheme = "bearer"
    username: str = ""
    """For `basic`; its password is the token."""
    header: str = ""
    """For `header`: the header's name; its value is the token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutePlan:
    """Requests that get a credential on their way; they are allowed, too."""

    to: AllowPlan
    auth: CredentialPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressPlan:
    """The HTTP(S) proxy of one bottle."""

    allow: tuple[AllowPlan, ...] = ()
    routes: tuple[RoutePlan, ...] = ()
    dlp: bool = True
    """Whether what leaves is searched for secrets."""
    mode: EgressMode = "deny"
    """`log` lets pass what `deny` would refuse, and records the verdict all the same."""
    upstream: str | None = None
    """Another proxy (`http://host:port`) that stands behind this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemotePlan:
    """A repository behind the git gate."""

    name: str
    url: str | None = None
    """Where it really is: an https or ssh URL, or an absolute path; None is a bare repository of
    the test's own."""
    credential: CredentialPlan | None = None
    allow_push: tuple[str, ...] = ("refs/heads/*",)
    """Full names of refs, in which `*` stands for anything; none is no push at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitGatePlan:
    """The git gate of one bottle, and who the agent is for git."""

    user_name: str | None = None
    user_email: str | None = None
    remotes: tuple[RemotePlan, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisePlan:
    """The supervisor of one bottle, of whom its agent asks what it was denied."""

    timeout: float = 60.0
    """Seconds that a proposal waits for its answer."""
    on_timeout: OnTimeout = "reject"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorPlan:
    """The parts of the door that a bottle declares, beside its model; None is not declared."""

    egress: EgressPlan | None = None
    git: GitGatePlan | None = None
    supervise: SupervisePlan | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The parts that are served to the guest."""
        gates = {
            "egress": self.egress is not None,
            "git": self.git is not None and bool(self.git.remotes),
            "supervise": self.supervise is not None,
        }
        return tuple(kind for kind, declared in gates.items() if declared)

    @property
    def token_refs(self) -> tuple[str, ...]:
        """The host's environment variables that hold its credentials, sorted."""
        return tuple(sorted({credential.token_ref for credential in self._credentials()}))

    def _credentials(self) -> Iterator[CredentialPlan]:
        if self.egress is not None:
            yield from (route.auth for route in self.egress.routes)
        if self.git is not None:
            yield from (remote.credential for remote in self.git.remotes if remote.credential)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DoorPlan:
        """Return what `to_json` was called on, before or after it was written as JSON."""
        return cls(
            egress=_maybe(egress_from_json, value["egress"]),
            git=_maybe(_git, value["git"]),
            supervise=None if value["supervise"] is None else SupervisePlan(**value["supervise"]),
        )


def allow_from_json(value: Mapping[str, Any]) -> AllowPlan:
    """Return the rule that `dataclasses.asdict` was called on."""
    return AllowPlan(
        host=value["host"],
        port=value["port"],
        methods=tuple(value["methods"]),
        paths=tuple(value["paths"]),
    )


def egress_from_json(value: Mapping[str, Any]) -> EgressPlan:
    """Return the plan that `dataclasses.asdict` was called on."""
    routes = (
        RoutePlan(to=allow_from_json(route["to"]), auth=CredentialPlan(**route["auth"]))
        for route in value["routes"]
    )
    return EgressPlan(
        allow=tuple(map(allow_from_json, value["allow"])),
        routes=tuple(routes),
        dlp=value["dlp"],
        mode=value["mode"],
        upstream=value["upstream"],
    )


def _git(value: Mapping[str, Any]) -> GitGatePlan:
    remotes = (
        RemotePlan(
            name=remote["name"],
            url=remote["url"],
            credential=_maybe(lambda one: CredentialPlan(**one), remote["credential"]),
            allow_push=tuple(remote["allow_push"]),
        )
        for remote in value["remotes"]
    )
    return GitGatePlan(
        user_name=value["user_name"], user_email=value["user_email"], remotes=tuple(remotes)
    )


def _maybe(make: Any, value: Any) -> Any:  # noqa: ANN401 - JSON
    return None if value is None else make(value)
