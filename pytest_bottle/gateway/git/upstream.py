"""Reaches the repository that a remote stands for, with the credential that no guest sees."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING
from typing import Final
from urllib.parse import urlsplit

from pytest_bottle import process
from pytest_bottle.gateway.git.environment import GIT
from pytest_bottle.gateway.git.environment import reaching_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.door_plan import CredentialPlan
    from pytest_bottle.door_plan import RemotePlan

CHECK_TIMEOUT: Final = 15.0
"""Seconds that an upstream gets to list its refs when a bottle is prepared."""

CHECK_AGENT: Final = "git/pytest-bottle-check"
GATE_AGENT: Final = "git/pytest-bottle-gate"
"""As whom we come, so that an upstream can tell a look before the test from what the agent did."""

_NO_PASSWORD: Final = (
    "could not read Username",
    "could not read Password",
    "Authentication failed",
    "Permission denied",
    "The requested URL returned error: 401",
    "The requested URL returned error: 403",
)
_WORDS: Final = 300


def protocol_of(url: str) -> str:
    """Return by what git reaches a URL: `https`, `http`, `ssh` or `file`."""
    if "://" in url:
        return urlsplit(url).scheme
    return "file" if url.startswith("/") else "ssh"


def environment_for(
    remote: RemotePlan, token: str, environ: Mapping[str, str], *, agent: str = GATE_AGENT
) -> dict[str, str]:
    """Return the environment of a git that reaches a remote's upstream.

    Args:
        remote: One with a URL.
        token: The value of its credential; empty where it has none.
        environ: Whose proxy, certificates and ssh it takes.
        agent: As whom it comes to an HTTP server.
    """
    config = {"http.userAgent": agent}
    if remote.credential is not None and token:
        config["http.extraHeader"] = _header(remote.credential, token)
    return reaching_environment(protocol_of(remote.url or ""), config, environ)


def check_upstream(remote: RemotePlan, token: str) -> str:
    """Return what keeps a remote's upstream from being used, and, in a second line, what to do.

    Empty where nothing does. It is asked for its refs, without anybody to type in a password.
    """
    if remote.url is None:
        return ""
    env = environment_for(remote, token, os.environ, agent=CHECK_AGENT)
    argv = [GIT, "ls-remote", "--", remote.url, "HEAD"]
    try:
        done = process.run(argv, timeout=CHECK_TIMEOUT, env=env, cwd="/")
    except TimeoutError:
        return f"it did not answer for {CHECK_TIMEOUT:g} s.\nCorrect it, or look to its host."
    if done.returncode == 0:
        return ""
    words = said(done.stderr, remote, token)
    if any(sign in words for sign in _NO_PASSWORD):
        if protocol_of(remote.url) == "ssh":
            remedy = "Load a key into the ssh agent that opens it without a question."
        elif remote.credential is not None:
            remedy = f"Correct {remote.credential.token_ref}, or auth.scheme and auth.username."
        else:
            remedy = "Name the variable that holds its token: auth.token_ref."
        return f"it asks for a password, and nobody is there to type it ({words}).\n{remedy}"
    return f"it cannot be used as a repository: {words}.\nCorrect it, or look to its host."


def said(stderr: bytes, remote: RemotePlan, token: str) -> str:
    """Return what git said was wrong, in a line, without the credential."""
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "remote:", "ssh:"))]
    words = "; ".join(telling or lines) or "git said nothing"
    for secret in _as_sent(remote, token):
        words = words.replace(secret, "[secret]")
    return words[:_WORDS].rstrip(".")


def _header(credential: CredentialPlan, token: str) -> str:
    match credential.scheme:
        case "bearer":
            return f"Authorization: Bearer {token}"
        case "basic":
            pair = f"{credential.username}:{token}".encode()
            return f"Authorization: Basic {base64.b64encode(pair).decode()}"
        case "header":
            return f"{credential.header}: {token}"


def _as_sent(remote: RemotePlan, token: str) -> list[str]:
    if not token or remote.credential is None:
        return []
    return [token, _header(remote.credential, token).rpartition(" ")[2]]
