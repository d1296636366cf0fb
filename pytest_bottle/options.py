"""The plugin's settings: a command-line option, else an environment variable, else an ini key."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Final
from typing import Literal

from pytest_bottle.errors import OptionError
from pytest_bottle.values import parse_budget

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Sequence

    import pytest

    from pytest_bottle.usage import Budget

AUTO: Final = "auto"
ALL: Final = "all"
KEEP_CHOICES: Final = ("never", "failed", "always")
SCOPE_CHOICES: Final = ("function", "class", "module", "session", "run")
MODEL_CHOICES: Final = ("scripted", "replay", "record", "new-episodes", "live")
TRANSCRIPT_CHOICES: Final = ("failed", "all")


@dataclass(frozen=True, slots=True)
class Value:
    """A setting's value, and where it came from."""

    value: Any
    source: str


@dataclass(frozen=True, slots=True)
class Option:
    """One setting in its three forms; `--bottle-x-y` is also `BOTTLE_X_Y` and `bottle_x_y`."""

    name: str
    metavar: str
    help: str
    default: Any
    parse: Callable[[str], Any]
    """Raises ValueError with what is wrong about a text."""
    repeatable: bool = False

    is_path: bool = False
    """Whether a relative path in an ini file is below that file's directory."""

    @property
    def flag(self) -> str:
        """The command-line form."""
        return f"--bottle-{self.name}"

    @property
    def ini(self) -> str:
        """The ini form."""
        return f"bottle_{self.name.replace('-', '_')}"

    @property
    def variable(self) -> str:
        """The environment form."""
        return self.ini.upper()


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.replace(",", " ").split()))


def _at_least_one_name(text: str) -> tuple[str, ...]:
    if names := _names(text):
        return names
    message = "it names nothing"
    raise ValueError(message)


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text in choices:
            return text
        message = f"{text!r} is not one of {', '.join(choices)}"
        raise ValueError(message)

    return parse


def _budget(text: str) -> Budget:
    try:
        return parse_budget(text)
    except ValueError as error:
        message = f"{text!r} {error}"
        raise ValueError(message) from None


def _count(text: str) -> int:
    if text.strip().isdecimal():
        return int(text)
    message = f"{text!r} is not a whole number, 0 or above"
    raise ValueError(message)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if 0 < value < float("inf"):
        return value
    message = f"{text!r} is not a number of seconds above 0"
    raise ValueError(message)


def _directory(text: str) -> Path:
    if text.strip():
        return Path(text).expanduser().absolute()
    message = "an empty path names no directory"
    raise ValueError(message)


def _file(text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if path.is_file():
        return path
    message = f"there is no file {path}"
    raise ValueError(message)


OPTIONS: Final = (
    Option(
        "backend",
        "NAME",
        "launch bottles on this backend; repeat it, or say `all`, to run every test on each "
        "(default: auto, the first that opens)",
        (AUTO,),
        _at_least_one_name,
        repeatable=True,
    ),
    Option(
        "scope",
        "SCOPE",
        f"how widely a bottle is shared where the marker does not say: {', '.join(SCOPE_CHOICES)} "
        "(default: function)",
        "function",
        _choice(*SCOPE_CHOICES),
    ),
    Option(
        "keep",
        "WHEN",
        f"leave bottles running for a look inside: {', '.join(KEEP_CHOICES)} (default: never)",
        "never",
        _choice(*KEEP_CHOICES),
    ),
    Option(
        "artifacts",
        "DIR",
        "write what bottles did below this directory",
        None,
        _directory,
        is_path=True,
    ),
    Option(
        "require",
        "NAMES",
        "capabilities that must be there: a missing one fails its tests, and the run, instead of "
        "skipping them; comma-separated, repeatable",
        (),
        _names,
        repeatable=True,
    ),
    Option(
        "slots",
        "N",
        "bottles at once on this host, over all workers and runs (default: by the host's CPUs)",
        0,
        _count,
    ),
    Option(
        "timeout",
        "SECONDS",
        "time limit of a command where neither test nor manifest has one (default: 60)",
        60.0,
        _seconds,
    ),
    Option(
        "infra-retries",
        "N",
        "run a test again, on a fresh bottle, when the sandbox failed under it (default: 0)",
        0,
        _count,
    ),
    Option(
        "manifest",
        "FILE",
        "the manifest to use, instead of the nearest bottle.toml or [tool.bottle] at or above each "
        "test",
        None,
        _file,
        is_path=True,
    ),
    Option(
        "model",
        "MODE",
        "where the answers to agents come from in tests that do not script them: "
        f"{', '.join(MODEL_CHOICES)} (default: scripted, which never touches the network)",
        "scripted",
        _choice(*MODEL_CHOICES),
    ),
    Option(
        "budget",
        "AMOUNT",
        "what the models may cost in the whole run, in US dollars or as in `200k tokens`; at that "
        "point their next request is refused",
        None,
        _budget,
    ),
    Option(
        "prices",
        "FILE",
        "a TOML file with prices of models, which go before the built-in ones",
        None,
        _file,
        is_path=True,
    ),
    Option(
        "smolvm",
        "PATH",
        "the smolvm engine that runs microVMs (default: the one on PATH, else the wheel's)",
        None,
        _file,
        is_path=True,
    ),
    Option(
        "proxy-python",
        "PATH",
        "a Python that has mitmproxy, for the proxies of bottles (default: an environment that is "
        "made once in the user's cache)",
        None,
        _file,
        is_path=True,
    ),
    Option(
        "transcripts",
        "WHICH",
        "of which tests to write the transcript as a page into the artifacts: "
        f"{', '.join(TRANSCRIPT_CHOICES)} (default: failed)",
        "failed",
        _choice(*TRANSCRIPT_CHOICES),
    ),
)
"""All settings."""


def add_options(parser: pytest.Parser) -> None:
    """Register every setting's option and ini key."""
    group = parser.getgroup("bottle", "isolated sandboxes for coding agents")
    for option in OPTIONS:
        group.addoption(
            option.flag,
            action="append" if option.repeatable else "store",
            metavar=option.metavar,
            help=option.help,
        )
        kind: Literal["args", "string"] = "args" if option.repeatable else "string"
        parser.addini(option.ini, option.help, type=kind, default=None)


class Options:
    """The settings of one pytest invocation.

    Raises:
        OptionError: a value cannot be used; says which, and where it came from.
    """

    def __init__(self, config: pytest.Config) -> None:
        """Read every setting once."""
        self.values: Final = {option.name: _resolve(option, config) for option in OPTIONS}

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - each setting has its own type
        """Return a setting's value."""
        return self.values[name].value

    @property
    def chosen(self) -> bool:
        """Whether anybody set anything."""
        return any(value.source != "default" for value in self.values.values())

    @property
    def has_references(self) -> bool:
        """Whether anybody named backends, capabilities or prices, which have to be looked up."""
        return bool(self["require"] or self["prices"]) or self["backend"] != (AUTO,)


def _resolve(option: Option, config: pytest.Config) -> Value:
    given: str | Sequence[str] | None = config.getoption(option.flag)
    if given is not None:
        return _parsed(option, given, "command line")
    if text := os.environ.get(option.variable, ""):
        return _parsed(option, text, f"environment variable {option.variable}")
    source = f"ini key {option.ini}"
    try:
        found: str | Sequence[str] | None = config.getini(option.ini)
    except (TypeError, ValueError) as problem:
        text = f"{problem}."
        raise OptionError(text, option=option.flag, source=source) from problem
    if not found:
        return Value(option.default, "default")
    if option.is_path and isinstance(found, str):
        base = config.inipath.parent if config.inipath else config.rootpath
        found = str(base / Path(found).expanduser())
    return _parsed(option, found, source)


def _parsed(option: Option, given: str | Sequence[str], source: str) -> Value:
    text = given if isinstance(given, str) else " ".join(given)
    try:
        return Value(option.parse(text), source)
    except ValueError as error:
        problem = f"{error}."
        raise OptionError(problem, option=option.flag, source=source) from error
