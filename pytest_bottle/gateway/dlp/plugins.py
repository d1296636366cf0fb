"""Asks the detectors of `detect-secrets`, only about places where they could find something."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.errors import CapabilityError
from pytest_bottle.gateway.dlp.budget import Closeness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


@dataclass(frozen=True, slots=True)
class _Detector:
    """One of the package's detectors, and where to ask it."""

    module: str
    name: str
    anchors: tuple[bytes, ...]
    """One of these is in everything that it finds."""
    before: int = 1
    after: int = 300
    """Bytes around an anchor that it is asked about: its expressions are slow on long texts."""
    group: int = 0
    """What is the secret in what its expressions find."""


# Left out: IPPublicDetector, as an address is no secret; the detectors of IBM's services, which
# find any long value of a key; OpenAIDetector, which takes quadratic time (see the services' keys);
# the high entropy ones and KeywordDetector, which find much of what is in source code (see the
# search for random values of keys).
_DETECTORS: Final = (
    _Detector("artifactory", "ArtifactoryDetector", (b"AKC",)),
    _Detector("aws", "AWSKeyDetector", (b"AKIA", b"ASIA", b"ABIA", b"ACCA", b"A3T"), 0, 20),
    _Detector("azure_storage_key", "AzureStorageKeyDetector", (b"AccountKey=",)),
    _Detector("basic_auth", "BasicAuthDetector", (b"://",), group=1),
    _Detector(
        "github_token", "GitHubTokenDetector", (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"), 0, 100
    ),
    _Detector(
        "gitlab_token",
        "GitLabTokenDetector",
        (
            *(b"glpat-", b"gldt-", b"glft-", b"glsoat-", b"glrt-", b"GR1348941", b"glcbt-"),
            *(b"glimt-", b"glptt-", b"glagent-", b"gloas-"),
        ),
        0,
        1100,
    ),
    _Detector("jwt", "JwtTokenDetector", (b"eyJ",), 0, 8192),
    _Detector("mailchimp", "MailchimpDetector", (b"-us",), 33, 8),
    _Detector("npm", "NpmDetector", (b":_authToken=",), 100, 60, group=1),
    _Detector("pypi_token", "PypiTokenDetector", (b"pypi-AgE",)),
    _Detector("sendgrid", "SendGridDetector", (b"SG.",), 0, 80),
    _Detector("slack", "SlackDetector", (b"xox", b"https://hooks.slack.com/"), 0, 160),
    _Detector("square_oauth", "SquareOAuthDetector", (b"sq0csp-",), 0, 60),
    _Detector("stripe", "StripeDetector", (b"sk_live_", b"rk_live_"), 0, 60),
    _Detector("telegram_token", "TelegramBotTokenDetector", (b":AA",), 10, 60),
    _Detector("twilio", "TwilioKeyDetector", (b"SK", b"AC"), 0, 36),
)

_PROBES: Final = {
    # Linear, unlike the expressions of the detectors.
    "BasicAuthDetector": re.compile(rb"://[^\s:/?#\[\]@\"'<>]{1,128}:[^\s:/?#\[\]@\"'<>]{3,256}@"),
    "JwtTokenDetector": re.compile(rb"(?<![\w.-])eyJ[\w=-]{8,4000}\.[\w=-]{8,4000}", re.ASCII),
    "TwilioKeyDetector": re.compile(rb"(?<![A-Za-z0-9])(?:SK|AC)[0-9a-f]{32}(?![A-Za-z0-9])"),
    "MailchimpDetector": re.compile(rb"-us\d"),
    "ArtifactoryDetector": re.compile(rb"AKC[A-Za-z0-9]{10}"),
}
# From a dot on, which is found faster than what begins with a letter.
_DISCORD_TAIL: Final = re.compile(rb"\.[\w-]{6}\.[\w-]{27}(?![\w.-])", re.ASCII)
_DISCORD_HEAD: Final = re.compile(rb"[MNO][\w-]{23,25}\Z", re.ASCII)
_DISCORD_HEAD_SIZE: Final = 26


class Detectors:
    """The detectors, each made once."""

    def __init__(self) -> None:
        """Load them.

        Raises:
            CapabilityError: the package is not installed.
        """
        try:
            self._made: dict[str, Any] = {
                detector.name: getattr(
                    importlib.import_module(f"detect_secrets.plugins.{detector.module}"),
                    detector.name,
                )()
                for detector in _DETECTORS
            }
        except ImportError:
            raise CapabilityError(
                "the search for secrets",
                reason="the package detect-secrets is not installed.",
                fix="pip install 'pytest-bottle[git]'",
            ) from None

    def search(self, data: bytes) -> Iterator[tuple[str, str, int]]:
        """Yield what they find: the rule, the value, and where about it starts.

        Raises:
            ExhaustedError: they have to be asked about too much.
        """
        closeness = Closeness(len(data))
        for detector in _DETECTORS:
            for anchor in detector.anchors:
                if anchor in data:
                    yield from self._near(data, anchor, detector, closeness)
        for tail in _DISCORD_TAIL.finditer(data):
            start = max(0, tail.start() - _DISCORD_HEAD_SIZE)
            if head := _DISCORD_HEAD.search(data[start : tail.start()]):
                value = (head[0] + tail[0]).decode()
                yield "discord-bot-token", value, tail.start() - len(head[0])

    def _near(
        self, data: bytes, anchor: bytes, detector: _Detector, closeness: Closeness
    ) -> Iterator[tuple[str, str, int]]:
        made = self._made[detector.name]
        rule = re.sub(r"\W+", "-", made.secret_type.lower()).strip("-")
        probe = _PROBES.get(detector.name)
        at = data.find(anchor)
        while at >= 0:
            end = at + len(anchor)
            if probe is None or probe.match(data, at):
                window = data[max(0, at - detector.before) : end + detector.after]
                closeness.look_at(len(window))
                for value in _values(made, window.decode("latin-1"), detector.group):
                    yield rule, value, at
            at = data.find(anchor, end)


def _values(made: Any, text: str, group: int) -> set[str]:  # noqa: ANN401 - of another package
    # Not with `analyze_string`: it yields parts of a key where an expression has groups.
    valid = getattr(made, "is_formally_valid", bool)
    found = (found[group] for pattern in made.denylist for found in pattern.finditer(text))
    return {value for value in found if value and valid(value)}
