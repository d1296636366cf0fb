"""The real key is put on outside, for the real API only, and answers come as they are."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.errors import UnexpectedRequestError
from pytest_bottle.errors import UpstreamError
from pytest_bottle.gateway.opening import Upstream
from pytest_bottle.gateway.upstream import LiveSource
from pytest_bottle.gateway.upstream import UpstreamClient
from pytest_bottle.gateway.values import HttpRequest
from tests.unit.gateway.fake_upstream import KEY
from tests.unit.gateway.fake_upstream import FakeUpstream
from tests.unit.gateway.fake_upstream import Reply
from tests.unit.gateway.fake_upstream import Seen
from tests.unit.gateway.fake_upstream import answer
from tests.unit.gateway.fake_upstream import asked
from tests.unit.gateway.fake_upstream import events
from tests.unit.gateway.fake_upstream import message
from tests.unit.gateway.fake_upstream import upstream

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_bottle.gateway.values import HttpAnswer

GUEST = {
    "x-api-key": "placeholder-of-the-guest",
    "authorization": "Bearer placeholder-of-the-guest",
    "cookie": "session=of-the-guest",
    "host": "127.0.0.1:8080",
    "connection": "keep-alive, x-mine",
    "x-mine": "1",
    "keep-alive": "5",
    "accept-encoding": "gzip, br, zstd",
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "one,two",
}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def _sent(path: str, family: str, **more: str) -> Seen:
    """Return what a real API sees of a guest's request."""

    async def scenario() -> Seen:
        async with upstream(Reply([events("Hi")])) as fake:
            fake.url += more.get("base", "")
            source = LiveSource(UpstreamClient(fake.known(family)))
            body = {**message(), "input": "Hello"}
            await answer(source, body, path=path, headers=GUEST)
            await source.close()
            return fake.seen[0]

    return asyncio.run(scenario())


def test_anthropic_gets_the_key_in_its_own_header():
    seen = _sent("/v1/messages?beta=true", "anthropic")
    assert seen.headers["x-api-key"] == KEY
    assert "authorization" not in seen.headers


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/chat/completions"])
def test_openai_gets_the_key_as_a_bearer_token(path):
    seen = _sent(path, "openai")
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert "x-api-key" not in seen.headers


def test_what_the_guest_proves_itself_with_stays_here():
    seen = _sent("/v1/messages", "anthropic")
    assert "of-the-guest" not in repr(seen)


def test_headers_of_the_hop_stay_here_and_the_others_go():
    seen = _sent("/v1/messages", "anthropic")
    assert seen.headers.keys().isdisjoint({"x-mine", "keep-alive"})
    assert seen.headers["host"] != GUEST["host"]
    assert seen.headers["anthropic-beta"] == "one,two"


def test_an_uncompressed_answer_is_asked_for():
    assert _sent("/v1/messages", "anthropic").headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("base", ["", "/", "/v1", "/v1/"])
def test_the_base_may_end_in_the_version_or_not(base):
    assert _sent("/v1/messages?beta=true", "anthropic", base=base).target == (
        "/v1/messages?beta=true"
    )


def test_a_base_keeps_its_own_path():
    assert _sent("/v1/responses", "openai", base="/team/v1").target == "/team/v1/responses"


def test_the_path_is_the_apis_and_never_the_guests():
    """Else a guest could send the key to another path, or to another host."""
    request, http = asked(message())

    async def scenario() -> Seen:
        async with upstream(Reply([events("Hi")])) as fake:
            client = UpstreamClient(fake.known())
            odd = "http://evil.test/v1/organizations/api_keys?a=b%26c#x"
            await client.send(request, _with_path(http, odd))
            await client.close()
            return fake.seen[0]

    assert asyncio.run(scenario()).target == "/v1/messages?a=b%26c"


def _with_path(http: HttpRequest, path: str) -> HttpRequest:
    return HttpRequest(method=http.method, path=path, headers=http.headers, body=http.body)


def test_parts_come_as_they_arrive():
    async def scenario() -> bytes:
        gate = asyncio.Event()
        async with upstream(Reply([b"data: 1\n\n", events("Hi")], waits=gate)) as fake:
            client = UpstreamClient(fake.known())
            got = await client.send(*asked(message()))
            first = await asyncio.wait_for(anext(got.body), 5)
            gate.set()
            await client.close()
            return first

    assert asyncio.run(scenario()) == b"data: 1\n\n"


def test_an_answer_that_breaks_off_is_an_error_that_names_the_host():
    async def scenario() -> None:
        async with upstream(Reply([b"data: 1\n\n"], drops=True)) as fake:
            client = UpstreamClient(fake.known())
            try:
                await answer(LiveSource(client), message())
            finally:
                await client.close()

    with pytest.raises(UpstreamError, match=r"the answer of 127\.0\.0\.1 broke off") as caught:
        asyncio.run(scenario())
    assert caught.value.__cause__ is None


def test_an_api_that_cannot_be_reached_is_nobodys_fault():
    async def scenario() -> None:
        client = UpstreamClient({"anthropic": Upstream(base_url="http://127.0.0.1:1", key=KEY)})
        try:
            await answer(LiveSource(client), message())
        finally:
            await client.close()

    with pytest.raises(UpstreamError, match=r"^127\.0\.0\.1 cannot be reached: ") as caught:
        asyncio.run(scenario())
    assert caught.value.__cause__ is None


def test_without_a_key_for_an_api_nothing_goes_out():
    async def scenario() -> tuple[str, list[Seen]]:
        async with upstream(Reply()) as fake:
            client = UpstreamClient(fake.known("openai"))
            with pytest.raises(UnexpectedRequestError) as caught:
                await answer(LiveSource(client), message())
            return str(caught.value), fake.seen

    words, seen = asyncio.run(scenario())
    assert "no key for the real API of /v1/messages" in words
    assert "Set ANTHROPIC_API_KEY" in words
    assert seen == []


def test_a_redirection_is_not_followed():
    """It could lead the key to somewhere else."""

    async def scenario() -> tuple[int, FakeUpstream]:
        async with upstream(Reply()) as other:
            headers = {"location": f"{other.url}/v1/messages"}
            async with upstream(Reply(status=307, headers=headers)) as fake:
                client = UpstreamClient(fake.known())
                got, _ = await answer(LiveSource(client), message())
                await client.close()
                return got.status, other

    status, other = asyncio.run(scenario())
    assert status == 307
    assert other.seen == []


def test_headers_that_tell_of_the_account_stay_here():
    headers = {
        "content-type": "application/json",
        "retry-after": "3",
        "request-id": "req_1",
        "set-cookie": "a=b",
        "anthropic-organization-id": "org",
    }

    async def scenario() -> HttpAnswer:
        async with upstream(Reply([b"{}"], 529, headers)) as fake:
            client = UpstreamClient(fake.known())
            got, _ = await answer(LiveSource(client), message())
            await client.close()
            return got

    got = asyncio.run(scenario())
    assert got.status == 529
    assert got.headers == {
        "content-type": "application/json",
        "retry-after": "3",
        "request-id": "req_1",
    }


def test_an_error_that_repeats_the_key_reaches_the_guest_without_it():
    async def scenario() -> bytes:
        text = json.dumps({"error": f"bad key {KEY}"}).encode()
        async with upstream(Reply([text[:20], text[20:]], 400)) as fake:
            client = UpstreamClient(fake.known())
            _, body = await answer(LiveSource(client), message())
            await client.close()
            return body

    assert json.loads(asyncio.run(scenario())) == {"error": "bad key [secret anthropic key]"}


def test_the_proxy_of_the_environment_is_used(monkeypatch):
    async def scenario() -> list[Seen]:
        async with upstream(Reply([events("Hi")])) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url)
            client = UpstreamClient({"anthropic": Upstream(base_url="http://api.test", key=KEY)})
            await answer(LiveSource(client), message())
            await client.close()
            return proxy.seen

    assert asyncio.run(scenario())[0].headers["host"] == "api.test"


def test_no_password_file_has_a_say(monkeypatch, tmp_path: Path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert "authorization" not in _sent("/v1/messages", "anthropic").headers


def test_a_client_that_sent_nothing_closes():
    asyncio.run(LiveSource(UpstreamClient({})).close())
