"""Takes the values of declared secrets out of whatever is shown or written."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Mapping


def redactor(
    names: Iterable[str], environ: Mapping[str, str] | None = None
) -> Callable[[str], str]:
    """Return a function that replaces the values of environment variables by `[secret NAME]`.

    Their base64, hexadecimal and URL-encoded forms are replaced as well.

    Args:
        names: Of the variables; one that is not set is passed over.
        environ: Where their values are; else this process's environment.
    """
    values = os.environ if environ is None else environ
    forms: dict[str, str] = {}
    for name in names:
        if value := values.get(name):
            raw = value.encode(errors="surrogateescape")
            encoded = base64.b64encode(raw).decode().rstrip("=")
            for form in (value, raw.hex(), encoded, quote(raw, safe="")):
                forms[form] = f"[secret {name}]"
    # Longest first: one secret may hold another.
    ordered = sorted(forms.items(), key=lambda item: -len(item[0]))

    def redact(text: str) -> str:
        for form, replacement in ordered:
            text = text.replace(form, replacement)
        return text

    return redact
