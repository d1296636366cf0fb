"""Capabilities that are programs: looked for on PATH, and asked for their version."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import NoReturn

import pytest

from pytest_bottle.lifecycle.capability import BUILTIN

AGENTS = {"claude": "@anthropic-ai/claude-code", "codex": "@openai/codex"}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Make PATH a directory in which a script stands for a program."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def install(name, script):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return program

    return install


@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_that_tells_its_version_is_there(install, name):
    program = install(name, 'test "$1" = --version && echo "1.2.3 (An Agent)" && echo more')
    answer = BUILTIN[name]()
    assert answer.ok
    assert answer.detail == f"1.2.3 (An Agent) at {program}"


@pytest.mark.usefixtures("install")
@pytest.mark.parametrize("name", AGENTS)
def test_one_that_is_not_there_can_be_installed_or_built(name):
    answer = BUILTIN[name]()
    assert not answer.ok
    assert answer.detail == f"no {name} on PATH"
    assert f"npm install -g {AGENTS[name]}" in answer.fix
    assert "pytest-bottle image build" in answer.fix


@pytest.mark.parametrize("name", AGENTS)
def test_one_that_does_not_work_is_not_there(install, name):
    program = install(name, "exit 1")
    answer = BUILTIN[name]()
    assert not answer.ok
    assert answer.detail == f"no version at {program}"


@pytest.mark.parametrize(("name", "package"), [("git", "detect_secrets"), ("supervise", "mcp")])
def test_a_gate_needs_its_extra(monkeypatch, name, package):
    """Whose absence is found out without importing what it brings."""
    assert BUILTIN[name]().ok
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: _missing())

    answer = BUILTIN[name]()

    assert not answer.ok
    assert answer.fix == f"pip install 'pytest-bottle[{name}]'"


def _missing() -> NoReturn:
    raise importlib.metadata.PackageNotFoundError("mcp")
