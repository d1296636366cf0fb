"""Clients that people use find the proxy and trust it by what is in a bottle's environment.

Nothing is set for them here. The servers stand on an address of this host that is not among those
which a guest takes for its own, and have authorities that only this host trusts.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_bottle import say
from pytest_bottle.manifest import load_manifest
from tests.agents.clis import AGENT_IMAGE
from tests.egress.registries import PACKAGE
from tests.egress.registries import TARBALL
from tests.egress.registries import WHEEL
from tests.egress.registries import registry
from tests.egress.servers import make_certificate
from tests.git.upstreams import TOKEN
from tests.git.upstreams import USER
from tests.git.upstreams import make_repository
from tests.git.upstreams import served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_bottle import Bottle
    from pytest_bottle.backends.base import ExecResult
    from pytest_bottle.manifest import Manifest
    from tests.git.upstreams import Server

pytestmark = pytest.mark.parametrize(
    (),
    [
        pytest.param(
            marks=[
                pytest.mark.bottle(agent="claude", backend="bubblewrap", scope="module"),
                pytest.mark.bottle_requires("bubblewrap"),
            ],
            id="bubblewrap",
        ),
        pytest.param(
            marks=[
                pytest.mark.bottle(
                    agent="claude", backend="docker", image=AGENT_IMAGE, scope="module"
                ),
                pytest.mark.bottle_requires("docker", "agent-image"),
            ],
            id="docker",
        ),
    ],
)

HOST = "127.0.0.2"

PYTHON = {
    "urllib": """
from urllib.request import urlopen
print(urlopen(URL).read().decode())
try:
    urlopen("https://docs.example.org/")
except OSError as error:
    print(error)
""",
    "requests": """
import requests
print(requests.get(URL).text)
try:
    requests.get("https://docs.example.org/")
except requests.exceptions.ProxyError as error:
    print(error)
""",
    "httpx": """
import httpx
print(httpx.get(URL).text)
try:
    httpx.get("https://docs.example.org/")
except httpx.ProxyError as error:
    print(error)
""",
}
"""Programs that get the package's page, and fail to get another."""

CARRIED = {
    "requests": ("requests", "urllib3", "idna", "certifi", "charset_normalizer"),
    "httpx": (
        "httpx",
        "httpcore",
        "h11",
        "anyio",
        "sniffio",
        "idna",
        "certifi",
        "typing_extensions",
    ),
}
"""Packages of this Python's that guests get, whose own has them seldom."""

NODE = """
const answer = await fetch(process.argv[1]);
console.log(await answer.text());
const refused = error => console.log("refused", error.cause?.message);
await fetch("https://docs.example.org/").catch(refused);
"""


@dataclass(frozen=True)
class Trusted:
    """Servers that this host trusts."""

    index: str
    """The URL of a registry."""
    named: str
    """That of another one, at a name that guests take for their own."""
    repositories: Server


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trusted]:
    root = tmp_path_factory.mktemp("clients")
    certificate = make_certificate(root, "registry", f"IP:{HOST},DNS:localhost")
    for name in ("packages", "more", "repositories"):
        (root / name).mkdir()
    make_repository(root / "repositories" / "app.git", {"README.md": "# App\n"})
    with (
        registry(root / "packages", HOST, certificate) as index,
        registry(root / "more", "localhost", certificate) as named,
        served(root / "repositories", HOST) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        bundle = root / "bundle.pem"
        authorities = (certificate.file, server.certificate)
        bundle.write_text("".join(file.read_text() for file in authorities))
        patch.setenv("SSL_CERT_FILE", str(bundle))
        patch.setenv("UPSTREAM_TOKEN", TOKEN)
        yield Trusted(index, named, server)


@pytest.fixture
def index(trusted: Trusted) -> str:
    return trusted.index


@pytest.fixture(scope="module")
def bottle_manifest(tmp_path_factory: pytest.TempPathFactory, trusted: Trusted) -> Manifest:
    """Let the bottle reach the servers, and its proxy have the token of one."""
    urls = (trusted.index, trusted.named, trusted.repositories.url)
    places = [url.removeprefix("https://") for url in urls]
    path = tmp_path_factory.mktemp("manifest") / "bottle.toml"
    path.write_text(
        f"""
[agents.claude]
bottle = "box"

[bottles.box]
timeout = "90s"

[bottles.box.egress]
allow = {json.dumps(places)}

[[bottles.box.egress.routes]]
host = "{places[2]}"
auth = {{ scheme = "basic", username = "{USER}", token_ref = "UPSTREAM_TOKEN" }}
"""
    )
    return load_manifest(path)


def need(bottle: Bottle, probe: str) -> None:
    """Skip where a guest has not got a client."""
    if not bottle.sh(probe).success:
        pytest.skip(f"the guest of {bottle.backend} fails `{probe}`")


def carry(bottle: Bottle, *names: str) -> None:
    """Give a guest packages of this Python's, in its working directory."""
    for name in names:
        found = importlib.util.find_spec(name)
        assert found is not None
        assert found.origin is not None
        origin = Path(found.origin)
        whole = origin.parent if origin.stem == "__init__" else origin
        bottle.copy_in(whole, whole.name)


def run(bottle: Bottle, script: str, *arguments: str, **env: str) -> ExecResult:
    return bottle.exec(["sh", "-ec", script, "sh", *arguments], env=env).check()


def reached(bottle: Bottle) -> set[tuple[str, str, int | None]]:
    """Return the methods, paths and statuses of what was seen inside of TLS."""
    assert {request.scheme for request in bottle.egress.allowed} == {"https"}
    return {(one.method, one.path, one.status) for one in bottle.egress.allowed}


def test_curl(bottle, index):
    need(bottle, "curl --version")
    assert PACKAGE in run(bottle, 'curl -sSf "$1"', f"{index}/simple/{PACKAGE}/").stdout
    assert reached(bottle) == {("GET", f"/simple/{PACKAGE}/", 200)}


def test_git_clones_with_a_credential_that_is_put_on_outside(bottle, trusted):
    repositories = trusted.repositories
    need(bottle, "git --version")
    run(bottle, 'rm -rf app; git clone -q "$1" app', f"{repositories.url}/app.git")
    assert bottle.read_file("app/README.md") == "# App\n"
    assert ("POST", "/app.git/git-upload-pack", 200) in reached(bottle)
    assert all(contact.welcome for contact in repositories.contacts)
    assert not bottle.sh(f"grep -rq {TOKEN} . /proc/self/environ").success


def test_pip_downloads(bottle, index):
    if not bottle.sh("python3 -m pip --version").success:
        carry(bottle, "pip")
    run(
        bottle,
        f'python3 -m pip download -q -d wheels --index-url "$1" {PACKAGE}',
        f"{index}/simple",
    )
    assert bottle.exists(f"wheels/{WHEEL}")
    assert ("GET", f"/simple/{PACKAGE}/{WHEEL}", 200) in reached(bottle)


def test_npm_views_and_packs(bottle, trusted):
    """By a name: through any proxy, it holds the certificates of addresses for wrong."""
    need(bottle, "npm --version")
    script = f'export npm_config_registry="$1"; npm view {PACKAGE} description; npm pack {PACKAGE}'
    said = run(bottle, script, f"{trusted.named}/npm/", NO_PROXY="", no_proxy="").stdout
    assert said.split("\n")[:2] == ["High and low water", TARBALL]
    assert bottle.exists(TARBALL)
    assert {("GET", f"/npm/{PACKAGE}", 200), ("GET", f"/npm/{TARBALL}", 200)} <= reached(bottle)


@pytest.mark.parametrize("client", PYTHON)
def test_python(bottle, index, client):
    carry(bottle, *CARRIED.get(client, ()))
    need(bottle, f"python3 -c 'import {client}'")
    url = f"{index}/simple/{PACKAGE}/"
    said = bottle.exec(["python3", "-c", f"URL = {url!r}\n{PYTHON[client]}"]).check().stdout
    page, _, refused = said.partition("\n")
    assert WHEEL in page
    assert "403" in refused
    assert [one.host for one in bottle.egress.denied] == ["docs.example.org"]


def test_node(bottle, index):
    probe = "const [major, minor] = process.versions.node.split('.').map(Number); "
    probe += "process.exit(major > 24 || major === 24 && minor >= 5 ? 0 : 1)"
    need(bottle, f'node -e "{probe}"')
    argv = ["node", "--input-type=module", "-e", NODE, f"{index}/simple/{PACKAGE}/"]
    said = bottle.exec(argv).check().stdout
    assert WHEEL in said
    assert "refused" in said
    assert {one.host for one in bottle.egress.denied} == {"docs.example.org"}


def test_claude_code_that_asks_its_makers_is_answered_by_the_bottles_model(bottle):
    """It has no rule to go there, and nothing goes there."""
    need(bottle, "claude --version")
    bottle.model.script(say("Hello from the script."))
    there = {"ANTHROPIC_BASE_URL": "https://api.anthropic.com", "ANTHROPIC_API_KEY": "nothing"}
    done = bottle.exec_claude(["-p", "Hello?"], env=there).check()
    assert done.stdout == "Hello from the script.\n"
    assert len(bottle.model.requests) == 1
    assert "Hello?" in str(bottle.model.requests[0].messages)
