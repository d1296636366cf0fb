"""Attempts to read what the door works with: its key, the real credentials, the host's files."""
# ruff: noqa: S101, PLR2004 -- checks assert, on HTTP's numbers

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from pytest_bottle.testing.escape.armed import SECRET
from pytest_bottle.testing.escape.armed import TOKEN
from pytest_bottle.testing.escape.armed import ArmedSubject
from pytest_bottle.testing.escape.armed import everything

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_bottle.bottle import Bottle
    from pytest_bottle.testing.escape.armed import Arm
    from pytest_bottle.testing.escape.witness import Witness

SEARCH = """
for place in /proc/[0-9]*/environ /proc/[0-9]*/cmdline; do
    tr '\\000' '\\n' < "$place" 2> /dev/null
done | grep -F -f patterns
find "$HOME" /tmp /var/tmp /run /etc /workspace -xdev -type f -size -1024k -print0 2> /dev/null |
    xargs -0 grep -l -F -f patterns 2> /dev/null | grep -v /patterns
"""
"""Prints where any line of `patterns` is to be found."""


class CredentialAttempts(ArmedSubject):
    """They are on the other side, where they work."""

    def search(self, bottle: Bottle, *words: str) -> list[str]:
        """Return the places of the guest in which there is one of the words."""
        bottle.write_file("patterns", "".join(f"{word}\n" for word in words))
        found = bottle.sh(SEARCH, timeout=90 * self.patience).stdout.split()
        bottle.exec(["rm", "patterns"]).check()
        return found

    def test_a_credential_is_put_on_outside(
        self, armed: Bottle, allowed: Witness, token: str
    ) -> None:
        """The server gets it, in the place of what the bottle sent, and the bottle has it not."""
        script = (
            "print(json.dumps(ask(arguments[0], headers={'Authorization': 'Bearer mine'}, "
            "proxy=through)[0]))"
        )
        assert self.attempt(armed, script, f"http://{allowed.place}/with-credential/x") == 200
        assert f"Bearer {token}".encode() in allowed.heard[-1]
        assert b"Bearer mine" not in allowed.heard[-1]
        assert self.attempt(armed, script, f"http://{allowed.place}/without") == 200
        assert token.encode() not in allowed.heard[-1]
        marker = "a-word-of-the-guests-own"
        armed.write_file("own", marker)
        assert self.search(armed, token, marker) == [f"{armed.workdir}/own"]

    def test_a_declared_secret_is_not_inside(
        self, arm: Arm, allowed: Witness, upstream: Path, secret: str, token: str
    ) -> None:
        """Neither its value nor its name, of nobody's doing."""
        bottle = arm(everything(allowed, upstream))
        assert self.search(bottle, secret, token, f"{SECRET}=", f"{TOKEN}=") == []

    def test_the_key_of_the_authority(self, armed: Bottle) -> None:
        """The certificate is inside; its key is in no file, and not where the host has it."""
        run = armed.plan.state_dir.parent
        keys = [
            path
            for path in run.rglob("*")
            if path.is_file() and b"PRIVATE KEY" in path.read_bytes()
        ]
        assert keys
        assert all(path.stat().st_mode & 0o077 == 0 for path in keys)
        assert not any(armed.exists(str(path)) for path in keys)
        body = keys[0].read_text().split("PRIVATE KEY-----")[1].split()[0]
        assert base64.b64decode(body + "=" * (-len(body) % 4))
        assert self.search(armed, body) == []
        assert "BEGIN CERTIFICATE" in armed.read_file(f"{armed.home}/.bottle/ca.pem")

    def test_files_of_the_host_by_the_proxy(self, armed: Bottle) -> None:
        """It serves no file, whatever the URL; nor does the git gate."""
        script = """
answers = []
for target in ("file:///etc/passwd", "unix:///var/run/docker.sock", "http+unix://%2fvar%2frun/"):
    text = f"GET {target} HTTP/1.1\\r\\nHost: x\\r\\n{pass_line}Connection: close\\r\\n\\r\\n"
    answers.append(raw(door, text))
print(json.dumps(answers))
"""
        for answer in self.attempt(armed, script):
            assert "root:" not in answer
            assert not answer.startswith("HTTP/1.1 200")
