"""A supervisor and a real MCP client: what is offered, asked, granted and written down."""

from __future__ import annotations

import http.client
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_bottle import approve
from pytest_bottle.errors import SuperviseError
from pytest_bottle.gateway.supervise import desk
from pytest_bottle.gateway.supervise import serving
from tests.unit.gateway.doors import eventually

if TYPE_CHECKING:
    from tests.unit.supervise.conftest import SupervisedGuest

WHY = "to read the manual"


class TestOffer:
    def names(self, guest: SupervisedGuest) -> Any:
        async def list_tools(client: Any) -> Any:
            return [tool.name for tool in (await client.list_tools()).tools]

        return guest.with_client(list_tools)

    def test_what_can_be_granted_is_offered(self, guest):
        assert self.names(guest) == [
            "request_egress",
            "request_git_push",
            "request_capability",
            "list_requests",
        ]

    def test_what_the_bottle_does_not_have_is_not(self, supervised):
        guest = supervised(egress=None, git=None)
        assert self.names(guest) == ["request_capability", "list_requests"]
        assert guest.ask("request_egress", host="example.org", reason=WHY)[0]

    @pytest.mark.parametrize("mode", ["legacy", "auto"])
    def test_clients_of_both_eras_are_served(self, guest, mode):
        """With a handshake, and without."""
        guest.supervise.policy(lambda _: approve())

        async def ask(client):
            arguments = {"name": "gpu", "reason": WHY}
            return await client.call_tool("request_capability", arguments)

        result = guest.with_client(ask, mode=mode)
        assert "was approved" in result.content[0].text


class TestEgress:
    def test_an_approval_has_taken_effect_when_the_agent_hears_of_it(self, guest, granted):
        guest.supervise.expect("egress", host="docs.python.org").approve()

        error, text = guest.ask(
            "request_egress", host="Docs.Python.org", reason=WHY, methods=["get"], paths=["/3/"]
        )

        assert not error
        assert "Granted from now on: requests to GET docs.python.org/3/" in text
        allowed = {"host": "docs.python.org", "port": None, "methods": ["GET"], "paths": ["/3/"]}
        assert granted == [("allow", {"rules": [allowed]})]

    def test_a_port_is_the_hosts(self, guest, granted):
        guest.supervise.expect("egress", host="example.org", port=8443).approve()
        guest.ask("request_egress", host="example.org:8443", reason=WHY)
        assert granted[0][1]["rules"][0]["port"] == 8443

    def test_less_is_granted_than_was_asked(self, guest, granted):
        guest.supervise.expect("egress", host="[*].python.org").modify(
            "one is enough", host="docs.python.org", paths=["/3/"]
        )

        _, text = guest.ask("request_egress", host="*.python.org", reason=WHY)

        assert "One is enough. Granted: requests to docs.python.org/3/" in text
        assert "Not granted as it was asked: requests to *.python.org" in text
        assert granted[0][1]["rules"][0]["paths"] == ["/3/"]
        (proposal,) = guest.supervise.proposals
        assert (proposal.decision, proposal.arguments["host"]) == ("modify", "*.python.org")

    def test_nothing_is_granted_by_a_rejection(self, guest, granted):
        guest.supervise.expect("egress").reject("it is not for you")
        assert "rejected" in guest.ask("request_egress", host="example.org", reason=WHY)[1]
        assert granted == []

    def test_what_cannot_be_granted_is_said(self, guest):
        guest.supervise.expect("egress").approve()
        error, text = guest.ask("request_egress", host="broken.example", reason=WHY)
        assert error
        assert "could not be granted: the proxy does not answer" in text
        assert guest.supervise.proposals[0].problem == "the proxy does not answer"

    @pytest.mark.parametrize(
        "arguments",
        [
            {"host": "*"},
            {"host": "*.com"},
            {"host": "0.0.0.0/0"},
            {"host": "10.0.0.0/8"},
            {"host": "169.254.169.254"},
            {"host": "https://example.org/"},
            {"host": "example.org\r\nX-Evil: 1"},
            {"host": "e" * 5000},
            {"host": ["example.org"]},
            {},
            {"host": "example.org", "paths": ["/../etc"]},
            {"host": "example.org", "paths": ["/"] * 100},
            {"host": "example.org", "methods": "GET"},
            {"host": "example.org", "methods": ["GET /"]},
            {"host": "example.org", "everything": True},
            {"host": "example.org", "reason": ""},
            {"host": "example.org", "reason": "r" * 5000},
        ],
    )
    def test_what_is_wrong_or_too_much_reaches_nobody(self, guest, granted, arguments):
        guest.supervise.policy(lambda _: approve())

        error, text = guest.ask("request_egress", **{"reason": WHY, **arguments})

        assert error
        assert text.startswith("This cannot be requested: `")
        (proposal,) = guest.supervise.proposals
        assert (proposal.decision, proposal.by) == ("reject", "rules")
        assert granted == []


class TestPush:
    def test_a_branch_by_its_short_name(self, guest, granted):
        guest.supervise.expect("git_push", remote="origin", ref="refs/heads/agent/*").approve()
        guest.ask("request_git_push", remote="origin", ref="agent/fix", reason=WHY)
        assert granted == [("allow_push", {"remote": "origin", "ref": "refs/heads/agent/fix"})]

    @pytest.mark.parametrize(
        ("remote", "ref"), [("elsewhere", "main"), ("origin", "refs/heads/*"), ("origin", "a..b")]
    )
    def test_what_is_wrong_or_too_much(self, guest, granted, remote, ref):
        assert guest.ask("request_git_push", remote=remote, ref=ref, reason=WHY)[0]
        assert granted == []


class TestDeciding:
    def test_what_is_asked_again_while_it_waits_is_one_proposal(self, guest, granted):
        with ThreadPoolExecutor() as threads:
            asking = [
                threads.submit(guest.ask, "request_egress", host="example.org", reason=WHY)
                for _ in range(3)
            ]
            proposal = guest.supervise.wait()
            eventually(lambda: len(guest.supervise.audit) > 1, 0.5)
            proposal.approve()
            assert len({one.result() for one in asking}) == 1
        assert len(granted) == 1

    def test_a_client_that_goes_takes_nothing_back(self, guest, granted):
        """It may come again."""
        body = (
            b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name":'
            b' "request_egress", "arguments": {"host": "example.org", "reason": "r"}}}'
        )
        with socket.create_connection(("127.0.0.1", guest.port)) as raw:
            raw.sendall(
                b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:1\r\nContent-Type: application/json\r\n"
                b"Accept: application/json, text/event-stream\r\nAuthorization: "
                + guest.headers["Authorization"].encode()
                + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
                + body
            )
            proposal = guest.supervise.wait()
        proposal.approve()
        assert len(granted) == 1
        assert "approve" in guest.ask("list_requests")[1]

    def test_changes_that_are_wrong_decide_nothing(self, guest):
        with ThreadPoolExecutor() as threads:
            asking = threads.submit(guest.ask, "request_egress", host="example.org", reason=WHY)
            proposal = guest.supervise.wait()
            with pytest.raises(SuperviseError, match="`host` must not allow everything"):
                proposal.modify(host="*")
            proposal.reject("well then")
            assert "Well then" in asking.result()[1]

    def test_a_client_is_told_that_it_goes_on(self, guest, monkeypatch):
        """Else it would give up."""
        monkeypatch.setattr(serving, "_PROGRESS_EVERY", 0.05)
        told = []

        async def ask(client):
            async def hear(_done, total, message):
                told.append((total, message))
                if len(told) == 2:
                    guest.supervise.pending[0].approve()

            arguments = {"name": "gpu", "reason": WHY}
            return await client.call_tool("request_capability", arguments, progress_callback=hear)

        assert not guest.with_client(ask).is_error
        assert told[0] == (20, "Waiting for somebody to decide.")

    def test_too_many_at_once_are_refused(self, guest, monkeypatch):
        monkeypatch.setattr(desk, "MAX_PENDING", 1)
        with ThreadPoolExecutor() as threads:
            asking = threads.submit(guest.ask, "request_capability", name="one", reason=WHY)
            proposal = guest.supervise.wait()
            assert guest.ask("request_capability", name="two", reason=WHY)[0]
            proposal.approve()
            assert not asking.result()[0]

    def test_the_end_of_the_bottle_rejects_what_waits(self, guest):
        async def ask(client):
            await client.list_tools()  # Else the client would do so afterwards.
            arguments = {"name": "gpu", "reason": WHY}
            return await client.call_tool("request_capability", arguments)

        with ThreadPoolExecutor() as threads:
            asking = threads.submit(guest.with_client, ask)
            guest.supervise.wait()
            guest.gates.close()
            assert "bottle was closed" in asking.result().content[0].text
        assert guest.written[-1]["by"] == "end"


class TestRecords:
    def test_they_are_written_without_secrets(self, guest):
        guest.supervise.expect("capability").approve()
        guest.ask("request_capability", name="gpu", reason="for opensesame-4711")
        asked, decided = guest.written
        assert (asked["event"], decided["event"]) == ("proposal", "decision")
        assert asked["id"] == decided["id"]
        assert "opensesame" not in guest.file.read_text()

    def test_a_flood_is_cut_off(self, guest, monkeypatch):
        monkeypatch.setattr(desk, "MAX_PROPOSALS", 3)

        async def flood(client):
            for _ in range(4):
                await client.call_tool("request_egress", {"host": "*"})
            return await client.call_tool("request_capability", {"name": "gpu", "reason": WHY})

        assert "heard no more" in guest.with_client(flood).content[0].text
        assert len(guest.supervise.proposals) == 3


class TestDoor:
    def status(
        self,
        guest: SupervisedGuest,
        method: str = "POST",
        path: str = "/mcp",
        body: bytes | None = b"{}",
        **headers: str,
    ) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", guest.port, timeout=10)
        try:
            given = {"Content-Type": "application/json", **guest.headers, **headers}
            connection.request(method, path, body, given)
            return connection.getresponse().status
        finally:
            connection.close()

    def test_nobody_is_let_in_without_the_pass(self, guest):
        assert self.status(guest, Authorization="Bearer wrong") == 401
        assert self.status(guest, Authorization="") == 401

    def test_pages_of_others_are_not(self, guest):
        assert self.status(guest, Origin="http://evil.example") == 403
        assert self.status(guest, Host="evil.example") == 421

    def test_what_is_not_there_or_too_long(self, guest):
        assert self.status(guest, path="/other") == 404
        assert self.status(guest, method="GET", body=None) == 405
        assert self.status(guest, body=b"x" * (serving.MAX_BODY + 1)) == 413

    def test_connections_are_bounded(self, guest, monkeypatch):
        monkeypatch.setattr(serving, "MAX_CONNECTIONS", 2)
        idle = [socket.create_connection(("127.0.0.1", guest.port)) for _ in range(2)]
        try:
            with socket.create_connection(("127.0.0.1", guest.port), timeout=10) as more:
                assert more.recv(1) == b""
        finally:
            for one in idle:
                one.close()
        assert eventually(lambda: self.status(guest, path="/other") == 404)
