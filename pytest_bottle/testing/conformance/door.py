"""Checks of the door: a socket that listens in the guest, and is served from the host."""
# ruff: noqa: S101, PLR2004 -- checks assert, on sizes of their own

from __future__ import annotations

import contextlib
import errno
import hashlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.errors import SandboxLostError
from pytest_bottle.testing.conformance.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

    from pytest_bottle.bottle import Bottle
    from pytest_bottle.testing.conformance.subject import Launch

PORT = 8377
"""Of the guest's; each check that has a bottle of its own may use it."""

MIB = 1024 * 1024

ASK = """\
import socket, sys
with socket.socket() as client:
    client.settimeout(20)
    client.connect(("127.0.0.1", int(sys.argv[1])))
    client.sendall(sys.stdin.buffer.read())
    client.shutdown(socket.SHUT_WR)
    while data := client.recv(1 << 18):
        sys.stdout.buffer.write(data)
"""
"""Sends what it reads to the door, and prints the answer."""

OPEN_SOCKETS = """\
import os
links = []
for number in os.listdir("/proc/self/fd"):
    try:
        links.append(os.readlink("/proc/self/fd/" + number))
    except OSError:
        pass
print([link for link in links if link.startswith("socket:")])
"""


@contextlib.contextmanager
def answering(listener: socket.socket, answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """Serve every connection with what `answer` makes of all that it sends; give the port."""

    def serve(client: socket.socket) -> None:
        with client:
            client.sendall(answer(b"".join(iter(lambda: client.recv(1 << 18), b""))))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


class DoorChecks(Subject):
    """Whoever holds the socket serves the guest; nobody else is in between."""

    def ask(self, bottle: Bottle, port: int, data: bytes = b"") -> bytes:
        """Return what the guest is answered."""
        result = bottle.exec([self.python, "-c", ASK, str(port)], input=data, timeout=60)
        return result.check().stdout_bytes

    def open_port(self, bottle: Bottle) -> socket.socket:
        """Listen on `PORT`, or on what the backend gives for it."""
        listener = bottle.sandbox.listen(PORT)
        host, port = listener.getsockname()
        assert host == "127.0.0.1"
        assert (port == PORT) == self.own_network
        return listener

    def test_the_guest_is_answered_by_the_host(self, launch: Launch) -> None:
        """As soon as somebody listens, and as often as it asks."""
        bottle = launch()
        with answering(self.open_port(bottle), lambda data: b"for " + data) as port:
            assert self.ask(bottle, port, b"one") == b"for one"
            assert self.ask(bottle, port, b"two") == b"for two"

    def test_a_connection_waits_for_who_accepts_it(self, subject: Bottle) -> None:
        """The socket may be on its way to another process when the guest connects."""
        with (
            contextlib.closing(subject.sandbox.listen(0)) as listener,
            ThreadPoolExecutor(1) as pool,
        ):
            asked = pool.submit(self.ask, subject, listener.getsockname()[1], b"early")
            listener.settimeout(30)
            client, _ = listener.accept()
            with client:
                assert client.recv(100) == b"early"
                client.sendall(b"late")
            assert asked.result(30) == b"late"

    def test_much_passes_both_ways(self, subject: Bottle) -> None:
        """Complete, and in its order."""
        data = hashlib.shake_256(b"seed").digest(8 * MIB)
        with answering(subject.sandbox.listen(0), lambda sent: sent[::-1]) as port:
            assert self.ask(subject, port, data) == data[::-1]

    def test_two_bottles_have_doors_of_their_own(self, launch: Launch) -> None:
        """On the same port of each."""
        one, other = launch(), launch()
        with (
            answering(self.open_port(one), lambda _: b"one") as port_of_one,
            answering(self.open_port(other), lambda _: b"other") as port_of_other,
        ):
            assert self.ask(one, port_of_one) == b"one"
            assert self.ask(other, port_of_other) == b"other"

    def test_many_are_opened_while_commands_run(self, subject: Bottle, place: str) -> None:
        """From several threads, and none waits for the commands."""
        with ThreadPoolExecutor(9) as pool:
            script = "while [ ! -e over ]; do sleep 0.1; done; echo over"
            running = pool.submit(subject.sh, script, cwd=place, timeout=60)
            listeners = list(pool.map(lambda _: subject.sandbox.listen(0), range(8)))
            with contextlib.ExitStack() as doors:
                ports = [
                    doors.enter_context(answering(one, lambda data: data)) for one in listeners
                ]
                assert len(set(ports)) == 8
                words = [str(port).encode() for port in ports]
                assert list(pool.map(self.ask, [subject] * 8, ports, words)) == words
            assert not running.done()
            subject.exec(["touch", "over"], cwd=place).check()
            assert running.result(30).stdout == "over\n"

    def test_a_port_is_had_once(self, launch: Launch) -> None:
        """Until the socket is closed: nothing in the bottle keeps it."""
        bottle = launch()
        first = self.open_port(bottle)
        if self.own_network:
            with pytest.raises(OSError, match="in use") as caught:
                bottle.sandbox.listen(PORT)
            assert caught.value.errno == errno.EADDRINUSE
        first.close()
        with answering(self.open_port(bottle), lambda _: b"again") as port:
            assert self.ask(bottle, port) == b"again"

    def test_what_the_guest_listens_on_is_taken(self, subject: Bottle) -> None:
        """It is told as the same error; no connection is split between the two."""
        script = "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); "
        script += "print(s.getsockname()[1], flush=True); sys.stdin.read()"
        serve = f'{self.python} -c "{script}" < /dev/zero > port & echo $! > pid'
        place = subject.exec(["mktemp", "-d"]).check().stdout.strip()
        subject.sh(serve, cwd=place).check()
        port = subject.sh("while [ ! -s port ]; do sleep 0.1; done; cat port", cwd=place).stdout
        try:
            if self.own_network:
                with pytest.raises(OSError, match="in use"):
                    subject.sandbox.listen(int(port))
        finally:
            subject.sh("kill $(cat pid)", cwd=place).check()

    def test_closed_is_refused(self, subject: Bottle) -> None:
        """At once, and not left to wait."""
        with answering(subject.sandbox.listen(0), lambda data: data) as port:
            assert self.ask(subject, port, b"x") == b"x"
        result = subject.exec([self.python, "-c", ASK, str(port)], input=b"x", timeout=15)
        assert not result.success
        refusals = ["ConnectionRefusedError"]
        if self.carried or not self.own_network:
            refusals.append("ConnectionResetError")
        assert any(refusal in result.stderr for refusal in refusals)

    def test_no_command_inherits_it(self, subject: Bottle) -> None:
        """Not those that start while it is open, and has just been made."""
        with ThreadPoolExecutor(4) as pool:
            seen = [pool.submit(subject.exec, [self.python, "-c", OPEN_SOCKETS]) for _ in range(4)]
            listeners = [subject.sandbox.listen(0) for _ in range(4)]
            seen.append(pool.submit(subject.exec, [self.python, "-c", OPEN_SOCKETS]))
            assert [one.result(60).check().stdout for one in seen] == ["[]\n"] * 5
        for listener in listeners:
            listener.close()

    def test_a_sandbox_that_has_ended_says_so(self, launch: Launch) -> None:
        """As it does when it is asked to run a command."""
        bottle = launch()
        bottle.close()
        with pytest.raises(SandboxLostError):
            bottle.sandbox.listen(PORT)
