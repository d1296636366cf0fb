"""The values of a bottle's door that people write: hosts, methods, paths, refs.

As in `values`, every parser raises ValueError with the end of a sentence that starts with the
value's name, and none repeats the value.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from pytest_bottle.values import parse_destination

METHOD_PATTERN = r"^[A-Za-z]{1,20}$"
HEADER_PATTERN = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
REMOTE_NAME_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$"
REF_PATTERN = r"^refs/[A-Za-z0-9_.*/-]*[A-Za-z0-9_*-]$"

_HOST_PORT = re.compile(r"(\[(?P<v6>[^\[\]]+)\]|(?P<host>[^:\[\]]+))(:(?P<port>\d{1,6}))?")
_HEADERS_OF_HTTP = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade"}
)


def parse_web_host(value: object) -> str:
    """Return a host, a `*.` pattern or an address, with a port or without, in its one form.

    An IPv6 address with a port is written in brackets, as in a URL.
    """
    if not isinstance(value, str) or not value:
        message = "must be a host, as a string"
        raise ValueError(message)
    host, port = split_port(value)
    host = parse_destination(host)
    if "/" in host:
        message = "must not be a network: the proxy knows hosts and addresses"
        raise ValueError(message)
    if "." in host and host.startswith("*.") and "." not in host[2:]:
        message = f'must not allow all of ".{host[2:]}": name a host below it'
        raise ValueError(message)
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


def split_port(value: str) -> tuple[str, int | None]:
    """Return a host without its brackets, and its port; None where it has none."""
    match = _HOST_PORT.fullmatch(value)
    if match is None:  # An address of IPv6, or no host at all.
        return value, None
    host = match["v6"] or match["host"]
    if match["port"] is None:
        return host, None
    port = int(match["port"])
    if not 0 < port < 2**16:
        message = "must have a port between 1 and 65535"
        raise ValueError(message)
    return host, port


def parse_method(value: object) -> str:
    """Return an HTTP method in upper case."""
    if isinstance(value, str) and re.fullmatch(METHOD_PATTERN, value):
        return value.upper()
    message = "must be an HTTP method, such as `GET`"
    raise ValueError(message)


def parse_path_prefix(value: object) -> str:
    """Return the beginning of a URL's path: absolute, in its normal form, without a query."""
    if (
        isinstance(value, str)
        and value.startswith("/")
        and not re.search(r"[?#%\\\s]|//|/\.{1,2}(/|$)", value)
    ):
        return value
    message = "must begin with `/`, without a query, `..`, `%` and empty parts"
    raise ValueError(message)


def parse_header_name(value: object) -> str:
    """Return the name of an HTTP header that may hold a credential."""
    if isinstance(value, str) and re.fullmatch(HEADER_PATTERN, value):
        if value.lower() in _HEADERS_OF_HTTP:
            message = f"must not be {value}, which HTTP itself needs"
            raise ValueError(message)
        return value
    message = "must be the name of an HTTP header"
    raise ValueError(message)


def parse_proxy_url(value: object) -> str:
    """Return the URL of an HTTP proxy: scheme, host and port, and nothing that is a secret."""
    form = 'must be a proxy\'s URL, such as "http://proxy.example.org:3128"'
    if not isinstance(value, str):
        raise ValueError(form)  # noqa: TRY004 -- every parser here raises ValueError
    parts = urlsplit(value)
    try:
        port = parts.port
    except ValueError:
        raise ValueError(form) from None
    if parts.username is not None or parts.password is not None:
        message = "must not have a password in it: a manifest is no place for one"
        raise ValueError(message)
    if parts.scheme not in {"http", "https"} or not parts.hostname or port is None:
        raise ValueError(form)
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError(form)
    return f"{parts.scheme}://{parts.netloc}"


def parse_ref_pattern(value: object) -> str:
    """Return a pattern of full ref names: `refs/...`, in which `*` stands for anything."""
    if isinstance(value, str) and re.fullmatch(REF_PATTERN, value) and ".." not in value:
        return value
    message = 'must be a full ref, such as "refs/heads/agent/*"'
    raise ValueError(message)


def parse_remote_name(value: object) -> str:
    """Return the name of a git remote: one safe path component."""
    if isinstance(value, str) and re.fullmatch(REMOTE_NAME_PATTERN, value):
        return value
    message = "must be a remote's name: letters, digits, `_`, `-` and `.`, and no path"
    raise ValueError(message)
