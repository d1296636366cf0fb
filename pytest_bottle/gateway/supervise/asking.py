"""What an agent may ask its supervisor for: kinds, their arguments, and what is too much."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.door_plan import AllowPlan
from pytest_bottle.web_values import parse_method
from pytest_bottle.web_values import parse_path_prefix
from pytest_bottle.web_values import parse_ref_pattern
from pytest_bottle.web_values import parse_remote_name
from pytest_bottle.web_values import parse_web_host
from pytest_bottle.web_values import split_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Collection
    from collections.abc import Mapping

FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "egress": ("host", "port", "methods", "paths"),
    "git_push": ("remote", "ref"),
    "capability": ("name",),
}
"""The kinds of proposals, and the arguments of each."""

MAX_REASON: Final = 1000
"""Characters of a reason."""

_MAX_NAME: Final = 100
_MAX_HOST: Final = 260
_MAX_REF: Final = 250
_MAX_PATH: Final = 500
_MAX_METHODS: Final = 10
_MAX_PATHS: Final = 20

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:/@+-]*")
_BRANCHES: Final = "refs/heads/"


def check(kind: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments in their one form, with those that were left out.

    Args:
        kind: one of `FIELDS`.
        arguments: as somebody wrote them.

    Raises:
        ValueError: they are wrong; a sentence that names the argument.
    """
    if unknown := sorted(set(arguments) - set(FIELDS[kind])):
        message = f"`{unknown[0]}` is no argument of it: there are {', '.join(FIELDS[kind])}"
        raise ValueError(message)
    if kind == "egress":
        return _egress(arguments)
    if kind == "git_push":
        return {
            "remote": _parsed("remote", arguments.get("remote"), parse_remote_name, _MAX_NAME),
            "ref": _parsed("ref", arguments.get("ref"), _ref, _MAX_REF),
        }
    return {"name": _parsed("name", arguments.get("name"), _name, _MAX_NAME)}


def check_asked(
    kind: str, arguments: Mapping[str, Any], *, remotes: Collection[str]
) -> dict[str, Any]:
    """Return what `check` does, where it is not more than an agent may ask for.

    Args:
        kind: one of `FIELDS`.
        arguments: what the agent wrote.
        remotes: names of the bottle's repositories.

    Raises:
        ValueError: they are wrong or too much; a sentence that names the argument.
    """
    asked = check(kind, arguments)
    if kind == "egress" and _is_special(asked["host"]):
        message = "`host` must not be an address of a link, a group or nobody"
        raise ValueError(message)
    if kind == "git_push":
        if asked["remote"] not in remotes:
            message = f"`remote` must be one of {', '.join(sorted(remotes))}"
            raise ValueError(message)
        if "*" in asked["ref"]:
            message = "`ref` must be one ref, without `*`"
            raise ValueError(message)
    return asked


def check_reason(value: object) -> str:
    """Return the reason that an agent gives.

    Raises:
        ValueError: there is none, or it is too long.
    """
    if not isinstance(value, str) or not value.strip():
        message = "`reason` must say, in a sentence, what it is needed for"
        raise ValueError(message)
    if len(value) > MAX_REASON:
        message = f"`reason` must not be longer than {MAX_REASON} characters"
        raise ValueError(message)
    return value.strip()


def describe(kind: str, arguments: Mapping[str, Any]) -> str:
    """Return in words what checked arguments of a kind would grant."""
    if kind == "egress":
        allowed = AllowPlan(
            host=arguments["host"],
            port=arguments["port"],
            methods=tuple(arguments["methods"]),
            paths=tuple(arguments["paths"]),
        )
        return f"requests to {allowed}"
    if kind == "git_push":
        return f"pushes of {arguments['ref']} to {arguments['remote']}"
    return f"the capability {arguments['name']!r}"


def _egress(arguments: Mapping[str, Any]) -> dict[str, Any]:
    host, port = split_port(_parsed("host", arguments.get("host"), parse_web_host, _MAX_HOST))
    given = arguments.get("port")
    if given is not None and (type(given) is not int or not 0 < given < 2**16):
        message = "`port` must be a number between 1 and 65535"
        raise ValueError(message)
    return {
        "host": host,
        "port": given if port is None else port,
        "methods": _list("methods", arguments.get("methods"), parse_method, _MAX_METHODS),
        "paths": _list("paths", arguments.get("paths"), parse_path_prefix, _MAX_PATHS),
    }


def _parsed(name: str, value: object, parse: Callable[[object], str], longest: int) -> str:
    if isinstance(value, str) and len(value) > longest:
        message = f"`{name}` must not be longer than {longest} characters"
        raise ValueError(message)
    try:
        return parse(value)
    except ValueError as problem:
        message = f"`{name}` {problem}"
        raise ValueError(message) from None


def _list(name: str, value: object, parse: Callable[[object], str], most: int) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list | tuple) or len(value) > most:
        message = f"`{name}` must be a list of up to {most}"
        raise ValueError(message)
    return sorted({_parsed(name, one, parse, _MAX_PATH) for one in value})


def _ref(value: object) -> str:
    """Return a full ref; what does not begin with `refs/` is a branch."""
    if isinstance(value, str) and value and not value.startswith("refs/"):
        value = _BRANCHES + value
    return parse_ref_pattern(value)


def _name(value: object) -> str:
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    message = "must be a short name of letters, digits and ` ._:/@+-`"
    raise ValueError(message)


def _is_special(host: str) -> bool:
    """Tell whether an address is for no server that an agent has business with.

    The credentials of a cloud's machines are behind one.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_link_local or address.is_multicast or address.is_unspecified
