"""Which engine is talked to, and what is said where it cannot be."""

from __future__ import annotations

import hashlib
import json
import socket

import pytest

pytest.importorskip("docker")

from pytest_bottle.backends.docker.backend import DockerBackend
from pytest_bottle.backends.docker.endpoint import DEFAULT_HOST
from pytest_bottle.backends.docker.endpoint import current_endpoint
from pytest_bottle.backends.docker.unavailable import judge
from pytest_bottle.errors import CapabilityError


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    """An empty docker configuration and environment."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return folder


def make_context(config, name: str, host: str) -> None:
    folder = config / "contexts/meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    meta = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host}}}
    (folder / "meta.json").write_text(json.dumps(meta))


def test_without_settings_it_is_the_local_socket():
    endpoint = current_endpoint()
    assert (endpoint.host, endpoint.arguments) == (DEFAULT_HOST, ())


def test_docker_host_names_it(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://engine:2375")
    endpoint = current_endpoint()
    assert (endpoint.host, endpoint.arguments) == ("tcp://engine:2375", ("-H", "tcp://engine:2375"))


def test_the_current_context_names_it(config):
    make_context(config, "far", "tcp://far:2375")
    (config / "config.json").write_text('{"currentContext": "far"}')
    endpoint = current_endpoint()
    assert (endpoint.host, endpoint.arguments) == ("tcp://far:2375", ("--context", "far"))


def test_docker_context_beats_the_current_one(config, monkeypatch):
    make_context(config, "far", "tcp://far:2375")
    make_context(config, "near", "tcp://near:2375")
    (config / "config.json").write_text('{"currentContext": "far"}')
    monkeypatch.setenv("DOCKER_CONTEXT", "near")
    assert current_endpoint().host == "tcp://near:2375"


def test_docker_host_beats_every_context(config, monkeypatch):
    make_context(config, "far", "tcp://far:2375")
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    monkeypatch.setenv("DOCKER_HOST", "tcp://host:2375")
    assert current_endpoint().host == "tcp://host:2375"


def test_a_context_that_does_not_exist_is_named(monkeypatch):
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    with pytest.raises(CapabilityError, match="no docker context 'gone'"):
        current_endpoint()


def test_a_missing_socket_is_probed_as_such(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    probe = DockerBackend().probe()
    assert not probe.ok
    assert "there is no socket" in probe.detail
    assert "DOCKER_HOST" in probe.fix


def test_a_dead_socket_is_probed_as_such(monkeypatch, tmp_path):
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    assert "nothing listens" in DockerBackend().probe().detail


def test_where_no_engine_is_there_are_no_orphans(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    assert DockerBackend().orphans() == ()


def test_an_engine_of_windows_containers_will_not_do():
    probe = judge("npipe://", {"Version": "29", "Os": "windows", "Arch": "amd64"})
    assert not probe.ok
    assert "Linux containers" in probe.fix
