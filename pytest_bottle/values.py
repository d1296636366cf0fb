"""The values that people write in a manifest or a marker: what each means, or why it is refused.

Every parser raises ValueError with the end of a sentence that starts with the value's name:
`must be ...`. None of them repeats the value, which may be a secret in the wrong place.
"""

from __future__ import annotations

import ipaddress
import math
import posixpath
import re

from pytest_bottle.usage import Budget

SIZE_PATTERN = r"^\s*\d+(\.\d+)?\s*([KMGTkmgt]([Ii]?[Bb])?|[Bb])?\s*$"
DURATION_PATTERN = r"^\s*\d+(\.\d+)?\s*(ms|s|m|h)?\s*$"
BUDGET_PATTERN = r"^\s*(\$?\s*\d+(\.\d+)?|\d+(\.\d+)?\s*[kKmM]?\s*tokens?)\s*$"
MODE_PATTERN = r"^(0o|0)?[0-7]{3}$"
ENVIRONMENT_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
SKILL_NAME_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"

_SIZE_EXPONENTS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
_TOKENS = {"k": 1000, "m": 1_000_000}
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")
_PORT = re.compile(r"[^:]+:\d+|\[.*\]:\d+")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def parse_size(value: object) -> int:
    """Return bytes; units are powers of 1024, as Docker reads them (`512M` is 512 MiB)."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(value, str) and re.fullmatch(SIZE_PATTERN, value):
        text = value.strip().lower().removesuffix("b").removesuffix("i")
        unit = text[-1] if text[-1] in _SIZE_EXPONENTS else ""
        size = int(float(text.removesuffix(unit)) * 1024 ** _SIZE_EXPONENTS[unit])
        if size > 0:
            return size
    message = 'must be a size above zero: bytes, or text such as "512M" or "1GiB"'
    raise ValueError(message)


def parse_duration(value: object) -> float:
    """Return seconds."""
    seconds = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and re.fullmatch(DURATION_PATTERN, value):
        text = value.strip()
        unit = text.lstrip("0123456789. ")
        seconds = float(text.removesuffix(unit)) * _SECONDS[unit]
    if math.isfinite(seconds) and seconds > 0:
        return seconds
    message = 'must be a time above zero: seconds, or text such as "90s" or "2m"'
    raise ValueError(message)


def parse_budget(value: object) -> Budget:
    """Return a budget in US dollars, or in tokens where the text says so."""
    budget = Budget()
    if isinstance(value, int | float) and not isinstance(value, bool):
        budget = Budget(dollars=float(value))
    elif isinstance(value, str) and re.fullmatch(BUDGET_PATTERN, value):
        text = value.strip().lower().removeprefix("$").removesuffix("s")
        count = text.removesuffix("token").rstrip()
        if count == text:
            budget = Budget(dollars=float(text))
        else:
            unit = _TOKENS.get(count[-1], 1)
            budget = Budget(tokens=int(float(count.rstrip("km")) * unit))
    amount = budget.dollars if budget.tokens is None else budget.tokens
    if amount is not None and math.isfinite(amount) and amount > 0:
        return budget
    message = 'must be above zero: US dollars, or text such as "$0.50" or "20k tokens"'
    raise ValueError(message)


def parse_mode(value: object) -> int:
    """Return the permission bits of a file; set-id and sticky bits are refused."""
    if isinstance(value, str) and re.fullmatch(MODE_PATTERN, value):
        return int(value, 8)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 0o777:  # noqa: PLR2004
        return value
    message = 'must be permission bits in octal, such as "0644"'
    raise ValueError(message)


def parse_user(value: object) -> str:
    """Return a user's name, or uid as text."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    if isinstance(value, str) and value and not set(value) & set(" :/\0"):
        return value
    message = "must be the name or the uid of a user in the guest"
    raise ValueError(message)


def parse_guest_path(value: object) -> str:
    """Return a guest path in its normal form: absolute, below `~/`, or below the workdir."""
    if not isinstance(value, str) or not value or "\0" in value or ".." in value.split("/"):
        message = "must be a path in the guest, without `..`"
        raise ValueError(message)
    # POSIX lets two leading slashes mean something else, and normpath keeps them.
    return posixpath.normpath("/" + value.lstrip("/") if value.startswith("/") else value)


def parse_guest_directory(value: object) -> str:
    """Return a directory of the guest in its normal form: absolute, and not the root."""
    if isinstance(value, str) and value.startswith("/"):
        path = parse_guest_path(value)
        if path != "/":
            return path
    message = 'must be an absolute path in the guest, and not "/"'
    raise ValueError(message)


def parse_environment_name(value: object) -> str:
    """Return the name of an environment variable."""
    if isinstance(value, str) and re.fullmatch(ENVIRONMENT_NAME_PATTERN, value):
        return value
    message = "must be the name of an environment variable (letters, digits, `_`)"
    raise ValueError(message)


def parse_skill_name(value: object) -> str:
    """Return a skill's name: one safe path component."""
    if isinstance(value, str) and re.fullmatch(SKILL_NAME_PATTERN, value):
        return value
    message = "must be a skill's name: letters, digits, `_`, `-` and `.`, and no path"
    raise ValueError(message)


def parse_destination(value: object) -> str:
    """Return where a bottle may connect to, in its one form: a host, an address or a network.

    Without ports and paths: what enforces this knows hosts and addresses only.
    """
    if not isinstance(value, str) or not value:
        message = "must be a host, an address or a network, as a string"
        raise ValueError(message)
    if "://" in value:
        message = "must not be a URL: write its host only, without scheme, port and path"
        raise ValueError(message)
    network = network_of(value)
    if value in {"*", "*."} or (network is not None and network.prefixlen == 0):
        message = "must not allow everything: name the hosts and networks that are needed"
        raise ValueError(message)
    if network is not None:
        whole = network.prefixlen == network.max_prefixlen
        return str(network.network_address if whole else network)
    if network_of(value.partition("/")[0]) is not None:
        message = 'must be a network\'s first address and its length, such as "10.0.0.0/8"'
        raise ValueError(message)
    return _host(value)


def network_of(destination: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Return the network that a destination names, one address too; None where it is a host."""
    if "%" in destination:  # An interface, which is not the same in the guest.
        return None
    try:
        return ipaddress.ip_network(destination)
    except ValueError:
        return None


def _host(value: str) -> str:
    if _PORT.fullmatch(value):
        message = "must not have a port: write the host or address only, for all its ports"
        raise ValueError(message)
    if "/" in value:
        message = "must not have a path: write the host only, or a network as address/length"
        raise ValueError(message)
    if "*" in value.removeprefix("*."):
        message = 'must have a `*` at its beginning only, for all below a host: "*.example.org"'
        raise ValueError(message)
    # What ends in a number is a slip in an address, and never a host's name.
    if _HOST.fullmatch(value) and not value.rpartition(".")[2].isdigit():
        return value.lower()
    message = (
        'must be a host ("docs.python.org", "*.example.org"), an address, or a network '
        '("10.0.0.0/8")'
    )
    raise ValueError(message)


def key_path(*parts: str) -> str:
    """Return a dotted TOML key, with quotes where TOML needs them."""
    return ".".join(part if _BARE_KEY.fullmatch(part) else f'"{part}"' for part in parts)
