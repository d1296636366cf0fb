"""The door: what a guest gets over HTTP, and what is recorded of it."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import socket
import threading
import time

import pytest

from pytest_bottle.errors import DoorError
from pytest_bottle.errors import UnexpectedRequestError
from pytest_bottle.errors import UpstreamError
from pytest_bottle.gateway import serving
from pytest_bottle.gateway import visit
from pytest_bottle.gateway.client import Connection
from pytest_bottle.gateway.model import join_model
from tests.unit.gateway.doors import Guest
from tests.unit.gateway.doors import OneSource
from tests.unit.gateway.doors import body
from tests.unit.gateway.doors import eventually
from tests.unit.gateway.doors import hello

FIRST, REST = b'{"content": [{"type": "text", ', b'"text": "hello"}]}'


@pytest.fixture
def connection(local_door):
    """A connection to a door whose model always says hello."""
    return local_door(OneSource(hello))


@pytest.fixture
def guest(connection):
    """A guest whose model always says hello."""
    return Guest(connection)


class TestAnswers:
    def test_a_request_is_answered_and_recorded(self, guest):
        status, answer = guest.ask("what is this?")
        assert (status, answer["content"][0]["text"]) == (200, "hello")
        (exchange,) = guest.model.exchanges
        assert exchange.request.messages == [{"role": "user", "content": "what is this?"}]
        assert (exchange.reply.text, exchange.status, exchange.origin) == ("hello", 200, "upstream")
        assert exchange.complete
        assert not exchange.problem

    def test_a_connection_serves_several_requests(self, guest):
        connection, own_ends = guest.connect(), set()
        for _ in range(3):
            connection.request("POST", "/v1/messages", json.dumps(body("hi")), guest.headers)
            own_ends.add(connection.sock.getsockname())
            assert connection.getresponse().read()
        connection.close()
        assert len(own_ends) == 1
        assert [request.number for request in guest.model.requests] == [0, 1, 2]

    def test_each_part_is_sent_as_soon_as_it_is_there(self, local_door):
        seen = threading.Event()

        async def parts(_request):
            yield FIRST
            await asyncio.to_thread(seen.wait, 5)
            yield REST

        guest = Guest(local_door(OneSource(parts)))
        connection = guest.connect()
        connection.request("POST", "/v1/messages", json.dumps(body("hi")), guest.headers)
        answer = connection.getresponse()
        assert answer.read(len(FIRST)) == FIRST
        seen.set()
        assert answer.read() == REST
        connection.close()

    def test_what_a_guest_saw_the_end_of_is_in_the_record(self, guest):
        for count in range(1, 40):
            guest.ask()
            assert len(guest.model.exchanges) == count

    def test_a_client_that_waits_for_100_continue_is_let_on(self, guest):
        request = guest.raw_request().replace(b"host:", b"expect: 100-continue\r\nhost:")
        head, _, data = request.partition(b"\r\n\r\n")
        with guest.send_raw(head + b"\r\n\r\n") as raw:
            assert raw.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            raw.sendall(data)
            assert raw.recv(1000).startswith(b"HTTP/1.1 200")

    def test_a_zipped_body_is_read(self, guest):
        data = gzip.compress(json.dumps(body("zipped")).encode())
        headers = {**guest.headers, "content-encoding": "gzip"}
        assert guest.send("POST", "/v1/messages", data, headers)[0] == 200
        assert guest.model.requests[0].messages[0]["content"] == "zipped"

    def test_the_list_of_models_needs_no_key(self, guest):
        status, answer = guest.send("GET", "/v1/models", headers={})
        assert status == 200
        assert answer["data"]

    def test_a_greeting_is_answered(self, guest):
        assert guest.send("HEAD", "/api/hello", headers={}) == (200, None)

    def test_web_sockets_are_refused_so_that_clients_fall_back(self, guest):
        upgrade = {"connection": "upgrade", "upgrade": "websocket"}
        assert guest.send("GET", "/v1/responses", headers=upgrade)[0] == 426

    def test_any_other_path_is_not_found_and_no_problem(self, guest):
        assert guest.send("POST", "/api/event_logging", {})[0] == 404
        assert guest.model.exchanges[0].status == 404
        assert guest.model.requests == []
        assert guest.model.problems == []


class TestRefusals:
    @pytest.mark.parametrize("key", ["", "sk-of-somebody"])
    def test_a_wrong_key_is_refused_as_the_api_does(self, guest, key):
        status, answer = guest.send("POST", "/v1/messages", body("hi"), {"x-api-key": key})
        assert status == 401
        assert answer["error"]["type"] == "authentication_error"

    def test_the_key_may_come_as_a_bearer(self, guest):
        headers = {"authorization": f"Bearer {guest.opening.token}"}
        assert guest.send("POST", "/v1/messages", body("hi"), headers)[0] == 200

    def test_a_bottle_is_known_by_its_socket(self, connection, guest):
        other = Guest(connection, "bottle-2")
        assert other.send("POST", "/v1/messages", body("hi"), guest.headers)[0] == 401
        assert other.ask()[0] == 200
        assert len(guest.model.exchanges) == 0

    def test_what_is_no_request_is_refused_and_a_problem(self, guest):
        assert guest.send("POST", "/v1/messages", "{")[0] == 400
        assert "JSON" in guest.model.problems[0]

    def test_a_body_that_says_it_is_too_large_is_refused(self, guest):
        connection = guest.connect()
        connection.putrequest("POST", "/v1/messages")
        for name, value in guest.headers.items():
            connection.putheader(name, value)
        connection.putheader("content-length", str(visit.MAX_BODY + 1))
        connection.endheaders()
        assert connection.getresponse().status == 413
        connection.close()

    def test_a_body_that_grows_too_large_is_refused(self, guest, monkeypatch):
        monkeypatch.setattr(visit, "MAX_BODY", 100_000)
        parts = iter([b"x" * 50_000] * 3)
        connection = guest.connect()
        connection.request("POST", "/v1/messages", parts, guest.headers, encode_chunked=True)
        answer = connection.getresponse()
        assert answer.status == 413
        assert json.loads(answer.read())["error"]["type"] == "request_too_large"
        connection.close()

    def test_a_body_whose_encoding_is_broken_is_refused(self, guest):
        headers = {**guest.headers, "content-encoding": "gzip"}
        status, answer = guest.send("POST", "/v1/messages", "not zipped", headers)
        assert (status, answer["error"]["type"]) == (400, "invalid_request_error")

    def test_what_is_no_http_is_refused_and_not_written_down(self, guest, caplog):
        for nonsense in (b"\0\1\2\r\n\r\n", b"GET /" + b"/" * 200_000 + b" HTTP/1.1\r\n\r\n"):
            with guest.send_raw(nonsense) as raw:
                assert b" 400 " in raw.recv(100)
        assert guest.ask()[0] == 200
        assert caplog.records == []

    @pytest.fixture
    def _few_connections(self, monkeypatch):
        monkeypatch.setattr(serving, "MAX_CONNECTIONS", 2)

    @pytest.mark.usefixtures("_few_connections")
    def test_connections_beyond_the_limit_are_closed(self, guest):
        held = [guest.send_raw(b"POST") for _ in range(2)]
        time.sleep(0.05)
        with guest.send_raw(b"") as one_more:
            assert one_more.recv(1) == b""
        for connection in held:
            connection.close()
        assert eventually(lambda: _answers(guest))


def _answers(guest: Guest) -> bool:
    try:
        return bool(guest.ask()[0] == 200)
    except (OSError, http.client.HTTPException):
        return False


class TestFailures:
    def test_an_unexpected_request_is_refused_and_a_problem(self, local_door):
        class Unprepared(OneSource):
            async def answer(self, _request, _http):
                raise UnexpectedRequestError("nobody expected this")

        guest = Guest(local_door(Unprepared(hello)))
        status, answer = guest.ask()
        assert (status, answer["error"]["message"]) == (400, "nobody expected this")
        assert guest.model.problems == ["nobody expected this"]
        assert guest.model.exchanges[0].problem == "nobody expected this"

    def test_a_bug_is_answered_with_500_and_the_door_lives_on(self, local_door):
        async def parts(request):
            if not request.number:
                message = "a bug"
                raise RuntimeError(message)
            yield b"{}"

        guest = Guest(local_door(OneSource(parts)))
        status, answer = guest.ask()
        assert (status, answer["error"]["type"]) == (500, "api_error")
        assert guest.model.problems == ["the door failed: RuntimeError: a bug"]
        assert guest.ask()[0] == 200

    def test_an_answer_that_breaks_off_is_not_taken_for_whole(self, local_door):
        async def parts(_request):
            yield FIRST
            message = "no more"
            raise RuntimeError(message)

        guest = Guest(local_door(OneSource(parts)))
        with pytest.raises(http.client.IncompleteRead):
            guest.ask()
        (exchange,) = guest.model.exchanges
        assert not exchange.complete
        assert exchange.problem == "the answer broke off: RuntimeError: no more"

    @pytest.mark.parametrize("before", [[], [FIRST]])
    def test_an_upstream_that_breaks_off_is_nobodys_fault(self, local_door, before):
        async def parts(_request):
            for part in before:
                yield part
            raise UpstreamError("api.example.org", reason="no more.")

        guest = Guest(local_door(OneSource(parts)))
        if before:
            with pytest.raises(http.client.IncompleteRead):
                guest.ask()
        else:
            assert guest.ask()[0] == 502
        (exchange,) = guest.model.exchanges
        assert exchange.infra
        assert exchange.problem == "the answer of api.example.org broke off: no more."
        assert guest.model.problems == []

    def test_a_guest_that_hangs_up_cancels_what_is_done_for_it(self, local_door):
        began, cancelled = threading.Event(), threading.Event()

        async def parts(_request):
            began.set()
            try:
                await asyncio.sleep(60)
                yield b""
            except asyncio.CancelledError:
                cancelled.set()
                raise

        guest = Guest(local_door(OneSource(parts)))
        raw = guest.send_raw(guest.raw_request())
        assert began.wait(5)
        raw.close()
        (exchange,) = guest.model.exchanges
        assert cancelled.wait(1)
        assert (exchange.status, exchange.complete, exchange.problem) == (499, False, "")

    def test_a_reader_that_does_not_read_stalls_nobody(self, local_door):
        async def parts(request):
            while request.messages[0]["content"] == "endless":
                yield b" " * 100_000
            yield b"{}"

        connection = local_door(OneSource(parts))
        slow, quick = Guest(connection), Guest(connection, "bottle-2")
        raw = slow.send_raw(slow.raw_request("endless"))
        began = time.monotonic()
        assert [quick.ask()[0] for _ in range(5)] == [200] * 5
        assert slow.ask()[0] == 200
        assert time.monotonic() - began < 2
        raw.close()
        assert eventually(lambda: [e.complete for e in slow.model.exchanges] == [True, False])


class TestEnds:
    def test_a_closed_bottle_is_served_no_more(self, guest):
        guest.model.close()
        with pytest.raises(ConnectionRefusedError):
            guest.ask()

    def test_closing_hangs_up_on_who_waits_and_on_who_does_not_read(self, local_door):
        async def parts(request):
            if request.messages[0]["content"] == "wait":
                await asyncio.sleep(60)
            while True:
                yield b" " * 100_000

        source = OneSource(parts)
        guest = Guest(local_door(source))
        raws = [guest.send_raw(guest.raw_request(said)) for said in ("wait", "endless")]
        assert raws[1].recv(100)
        began = time.monotonic()
        guest.model.close()
        assert time.monotonic() - began < 1
        assert raws[0].recv(1) == b""
        assert source.closed == 1
        assert sorted(exchange.complete for exchange in guest.model.exchanges) == [False, False]
        for raw in raws:
            raw.close()

    def test_the_end_of_a_test_process_closes_its_bottles(self, connection, guest):
        connection.close()

        def refused():
            try:
                socket.create_connection(("127.0.0.1", guest.port), timeout=1).close()
            except ConnectionRefusedError:
                return True
            except ConnectionResetError:
                pass  # It is just being closed.
            return False

        assert eventually(refused)
        with pytest.raises(DoorError, match="has gone"):
            _ = guest.model.usage

    def test_a_shared_bottle_outlives_who_opened_it(self, connection, tmp_path):
        guest = Guest(connection, shared=True)
        other = Connection(tmp_path / "run")
        joined = join_model(other, bottle="bottle-1", token=guest.opening.token)
        connection.close()
        assert guest.ask()[0] == 200
        assert len(joined.requests) == 1
        joined.close()
        assert joined.usage.input_tokens == 10
        with pytest.raises(ConnectionRefusedError):
            guest.ask()
        other.close()

    def test_nobody_joins_a_bottle_that_is_not_there(self, connection):
        with pytest.raises(DoorError, match="not open for bottle-9"):
            join_model(connection, bottle="bottle-9", token="")

    def test_a_bottle_has_one_door(self, connection, guest):
        with pytest.raises(DoorError, match="open for bottle-1 already"):
            Guest(connection, guest.opening.bottle)
