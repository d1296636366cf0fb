"""A Docker engine of the tests' own, which they may end as they like."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
from docker.errors import ImageNotFound

from pytest_bottle.backends.bubblewrap.namespaces import die_with_parent
from pytest_bottle.backends.docker.image import DEFAULT_IMAGE
from pytest_bottle.backends.docker.image import IMAGE_VARIABLE
from tests.death.remains import branded
from tests.death.remains import command_line
from tests.death.remains import eventually
from tests.death.remains import put_on
from tests.death.remains import unused_brand

ANSWERS_WITHIN = 30.0
"""Seconds."""

IMAGE = os.environ.get(IMAGE_VARIABLE) or DEFAULT_IMAGE


class PrivateEngine:
    """A dockerd with its own socket, data and containerd, and no network to give."""

    def __init__(self, directory: Path) -> None:
        """Start it; `close` has to be called also where it does not answer."""
        self._directory = directory
        self._brand = unused_brand()
        self.host = f"unix://{directory}/docker.sock"
        self._process = self._start()

    def client(self) -> Any:
        """Return a connection to it."""
        return docker.APIClient(self.host)

    def provide_image(self) -> None:
        """Wait until it answers, and give it the image that the other tests use."""
        self._await_answer()
        usual: Any = docker.from_env().api
        with usual, self.client() as own:
            try:
                usual.inspect_image(IMAGE)
            except ImageNotFound:
                usual.pull(IMAGE)
            own.load_image(usual.get_image(IMAGE))

    def restart(self, number: signal.Signals) -> None:
        """End it by a signal, and start it again."""
        self._process.send_signal(number)
        self._process.wait(ANSWERS_WITHIN)
        # Its containerd dies with it; where nobody reaps that, the next would wait for it.
        assert eventually(lambda: not any("containerd.toml" in one for one in self._descendants()))
        (self._directory / "exec/containerd/containerd.pid").unlink(missing_ok=True)
        self._process = self._start()
        self._await_answer()

    def close(self) -> None:
        """End it, and everything that it started."""
        self._process.kill()
        self._process.wait()
        for pid in branded(self._brand):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        eventually(lambda: not branded(self._brand))
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            if str(self._directory) in line:
                subprocess.run(["umount", line.split()[4]], check=True)
        shutil.rmtree(self._directory)

    def _descendants(self) -> list[str]:
        return [command_line(pid) for pid in branded(self._brand)]

    def _start(self) -> subprocess.Popen[bytes]:
        with (self._directory / "log").open("a") as log:
            return subprocess.Popen(
                [
                    # In a network of its own: with no bridge to use, an engine removes docker0,
                    # be it another engine's.
                    *("unshare", "--net", "--"),
                    *("dockerd", "--host", self.host, "--pidfile", self._directory / "pid"),
                    *("--data-root", self._directory / "data"),
                    *("--exec-root", self._directory / "exec"),
                    *("--bridge=none", "--iptables=false", "--shutdown-timeout=1"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=self._before_exec,  # noqa: PLW1509 - started from one thread
            )

    def _before_exec(self) -> None:
        put_on(self._brand)
        die_with_parent(os.getppid())  # The tests may be killed themselves.

    def _await_answer(self) -> None:
        assert eventually(self._answers, ANSWERS_WITHIN), self._log()

    def _log(self) -> str:
        return (self._directory / "log").read_text()[-2000:]

    def _answers(self) -> bool:
        # Not through the SDK, which leaks a socket that is refused.
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self._directory / "docker.sock"))
                connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b"200 OK" in connection.recv(100)
            except OSError:
                return False
