"""The one form of a host, however a request spells it, and which addresses are nobody's by name."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from typing import Final
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAME: Final = re.compile(
    r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*"
)
_NUMBER: Final = re.compile(r"0x[0-9a-f]*|[0-9]+")
_MAX_NAME: Final = 253
_BYTE: Final = 256
_BYTES: Final = 4
"""Of an IPv4 address."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def canonical_host(text: str) -> str:
    """Return a host's one form: a name in lower case, or an address as `ipaddress` writes it.

    All that a C library takes for an IPv4 address is one: decimal, octal, hexadecimal, short.

    Raises:
        ValueError: it is no host, or one that programs read differently.
    """
    host = unicodedata.normalize("NFKC", text).strip().lower()
    if host.startswith("[") and host.endswith("]"):
        return str(_plain(ipaddress.IPv6Address(_without_zone(host[1:-1]))))
    if ":" in host:
        return str(_plain(ipaddress.IPv6Address(_without_zone(host))))
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii").lower()
        except UnicodeError:
            message = "is not the name of a host"
            raise ValueError(message) from None
    host = host.removesuffix(".")
    last = host.rpartition(".")[2]
    if _NUMBER.fullmatch(last):
        return str(_ipv4(host))
    if len(host) > _MAX_NAME or not _NAME.fullmatch(host):
        message = "is not the name of a host"
        raise ValueError(message)
    return host


def address_of(host: str) -> Address | None:
    """Return the address that a host in its one form is; None of a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Tell whether an address is one of the internet: not this host's, nor of a network beside it.

    An address of IPv6 that stands for one of IPv4 is what that one is.
    """
    return all(
        one.is_global and not one.is_multicast and not one.is_unspecified
        for one in (address, *_embedded(address))
    )


def _embedded(address: Address) -> list[Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found: list[Address] = [one for one in (address.ipv4_mapped, address.sixtofour) if one]
    if address.teredo:
        found.extend(address.teredo)
    if address in _NAT64:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return found


def _plain(address: ipaddress.IPv6Address) -> Address:
    return address.ipv4_mapped or address


def _without_zone(text: str) -> str:
    if "%" in text:
        message = "names an interface of this host"
        raise ValueError(message)
    return text


def _ipv4(host: str) -> ipaddress.IPv4Address:
    """Read an address as `inet_aton` does."""
    parts = host.split(".")
    wrong = "looks like an address, and is none"
    if not 1 <= len(parts) <= _BYTES or not all(map(_NUMBER.fullmatch, parts)):
        raise ValueError(wrong)
    numbers = [_number(part, wrong) for part in parts]
    *first, last = numbers
    if any(number >= _BYTE for number in first) or last >= _BYTE ** (5 - len(numbers)):
        raise ValueError(wrong)
    value = last
    for place, number in enumerate(first):
        value += number << (24 - 8 * place)
    return ipaddress.IPv4Address(value)


def _number(part: str, wrong: str) -> int:
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    try:
        return int(part, 8 if len(part) > 1 and part.startswith("0") else 10)
    except ValueError:
        raise ValueError(wrong) from None
