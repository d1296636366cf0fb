"""Attempts at the door itself: its control, and what is another bottle's."""
# ruff: noqa: S101, PLR2004 -- checks assert, on HTTP's numbers

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bottle.gateway import control
from pytest_bottle.testing.escape.armed import ArmedSubject
from pytest_bottle.testing.isolation.door import SOCKETS_OF_THE_HOST

if TYPE_CHECKING:
    from pytest_bottle.bottle import Bottle
    from pytest_bottle.testing.escape.armed import Arm
    from pytest_bottle.testing.escape.witness import Witness

PRESENT = """
url, token = arguments
print(json.dumps(ask(url, proxy=f"http://bottle:{token}@127.0.0.1:4181")[0]))
"""

READ = "print(json.dumps(os.environ['BOTTLE_PASS']))"


class DoorAttempts(ArmedSubject):
    """Nobody gets at a door but its own bottle, and nobody at all from inside to its control."""

    def test_another_bottles_pass(
        self, armed: Bottle, arm: Arm, allowed: Witness, forbidden: Witness
    ) -> None:
        """It opens nothing here, and neither does none; one's own opens what is one's own."""
        other = arm(f'egress.allow = ["{forbidden.place}"]')
        stolen, own = self.attempt(other, READ), self.attempt(armed, READ)
        assert stolen != own
        before = len(forbidden.heard)
        for url in (f"http://{allowed.place}/", f"http://{forbidden.place}/"):
            assert self.attempt(armed, PRESENT, url, stolen) == 407
            assert self.attempt(armed, PRESENT, url, "") == 407
        assert len(forbidden.heard) == before
        assert self.attempt(armed, PRESENT, f"http://{allowed.place}/", own) == 200
        assert self.attempt(other, PRESENT, f"http://{forbidden.place}/", stolen) == 200

    def test_the_other_parts_want_the_pass_too(self, armed: Bottle) -> None:
        """The git gate and the supervisor: 401 without it, and not with it."""
        script = """
answers = []
for port, path in ((4182, "/app/info/refs?service=git-upload-pack"), (4183, "/mcp")):
    for login in ("", arguments[0]):
        basic = base64.b64encode(f"bottle:{login}".encode()).decode()
        word = f"Basic {basic}" if port == 4182 else f"Bearer {login}"
        text = f"GET {path} HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\nConnection: close\\r\\n"
        text += f"Authorization: {word}\\r\\n\\r\\n"
        answers.append(raw(["127.0.0.1", port], text, timeout=5)[9:12])
print(json.dumps(answers))
"""
        without, accepted, mcp_without, mcp_accepted = self.attempt(
            armed, script, self.attempt(armed, READ)
        )
        assert without == mcp_without == "401"
        assert accepted == "200"
        assert mcp_accepted not in {"401", "403"}

    def test_the_control_socket(self, armed: Bottle) -> None:
        """It is not to be found by its path, nor is any other socket; the host has it there."""
        run = armed.plan.state_dir.parent
        control.connect(run).close()
        script = f"""
served = socket.socket(socket.AF_UNIX)
served.bind(arguments[0])
served.listen()
{SOCKETS_OF_THE_HOST}
"""
        own = f"{armed.workdir}/own.sock"
        assert self.attempt(armed, script, own) == [own]
        armed.exec(["rm", own]).check()
        assert not armed.exists(str(run / control.SOCKET_NAME))

    def test_what_is_written_about_bottles(self, armed: Bottle, arm: Arm) -> None:
        """Neither its own records, nor another's, nor any file of the run is inside."""
        other = arm("egress.allow = []")
        for bottle in (armed, other):
            assert bottle.plan.state_dir.exists()
            assert not armed.exists(str(bottle.plan.state_dir))
        names = armed.sh("find / -xdev -name '*.jsonl' -newer /proc/1 2> /dev/null | head").stdout
        assert not [name for name in names.split() if "egress" in name or "git" in name]

    def test_another_bottles_ports(self, armed: Bottle, arm: Arm, allowed: Witness) -> None:
        """What listens here is this bottle's: with one of them closed, nothing is there."""
        other = arm(f'egress.allow = ["{allowed.place}"]')
        script = """
open_ports = []
for port in (4181, 4182, 4183):
    with socket.socket() as client:
        client.settimeout(2)
        if client.connect_ex(("127.0.0.1", port)) == 0:
            open_ports.append(port)
print(json.dumps(open_ports))
"""
        assert self.attempt(armed, script) == [4181, 4182, 4183]
        assert self.attempt(other, script) == [4181]
