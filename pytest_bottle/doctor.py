"""Examines the host: every setting with its source, every capability with its probe's answer.

It runs inside pytest, so that ini files, conftest files and other plugins have their say.
"""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.options import OPTIONS

if TYPE_CHECKING:
    import pytest

    from pytest_bottle.session import BottleSession

FLAG: Final = "--bottle-doctor"


def add_option(parser: pytest.Parser) -> None:
    """Register the flag that `pytest-bottle doctor` is made of."""
    parser.getgroup("bottle").addoption(
        FLAG, action="store_true", help="show settings and capabilities, and run no test"
    )


def examine(session: BottleSession) -> int:
    """Print what was found; return 0 if a backend opens and nothing required is missing, else 1."""
    extensions = session.lifecycle.extensions
    print(f"pytest-bottle on {platform.platform()}, Python {sys.version.split()[0]}")
    print("\nsettings:")
    for option in OPTIONS:
        setting = session.options.values[option.name]
        value = " ".join(setting.value) if isinstance(setting.value, tuple) else setting.value
        shown = "-" if value in {None, ""} else value
        print(f"  {option.flag:<24} {shown!s:<12} ({setting.source})")
    print("\ncapabilities:")
    opens = False
    missing = False
    for name in extensions.capability_names:
        answer = session.lifecycle.probe(name)
        is_backend = name in extensions.backend_names
        opens = opens or (is_backend and answer.ok)
        missing = missing or (name in session.options["require"] and not answer.ok)
        wall = f" ({extensions.backend(name).wall})" if is_backend else ""
        print(f"  {'yes' if answer.ok else 'no ':<4}{name}{wall}: {answer.detail}")
        if not answer.ok and answer.fix:
            print(f"      fix: {answer.fix}")
    session.finish()
    return 0 if opens and not missing else 1
