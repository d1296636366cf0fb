"""The values that people write in a manifest or a marker: what each means, or why it is refused.

Every parser raises ValueError with the end of a sentence that starts with the value's name:
`must be ...`. None of them repeats the value, which may be a secret in the wrong place.
"""

from __future__ import annotations

import math
import posixpath
import re

SIZE_PATTERN = r"^\s*\d+(\.\d+)?\s*([KMGTkmgt]([Ii]?[Bb])?|[Bb])?\s*$"
DURATION_PATTERN = r"^\s*\d+(\.\d+)?\s*(ms|s|m|h)?\s*$"
MODE_PATTERN = r"^(0o|0)?[0-7]{3}$"
ENVIRONMENT_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
SKILL_NAME_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"

_SIZE_EXPONENTS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
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


def key_path(*parts: str) -> str:
    """Return a dotted TOML key, with quotes where TOML needs them."""
    return ".".join(part if _BARE_KEY.fullmatch(part) else f'"{part}"' for part in parts)
