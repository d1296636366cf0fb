"""What is run in a guest before there is a channel to it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys

import pytest

from pytest_bottle.backends.smolmachines import guest


class TestFacts:
    def test_a_shell_tells_them(self):
        """Here this host's own."""
        done = subprocess.run(guest.FACTS, capture_output=True, check=True)
        facts = guest.read_facts(done.stdout)
        assert facts is not None
        assert facts.home.startswith("/")
        assert facts.python

    def test_an_image_without_python(self):
        facts = guest.read_facts(b"1000\n1000\nnode\n/home/node\n\n")
        assert facts == guest.Facts(
            uid=1000, gid=1000, user="node", home="/home/node", python=False
        )

    def test_a_user_without_a_home(self):
        facts = guest.read_facts(b"4711\n4711\n4711\n\n/usr/bin/python3\n")
        assert facts is not None
        assert facts.home == "/"

    @pytest.mark.parametrize(
        "said", [b"", b"not found\n", b"root\n0\nroot\n/root\n\n", b"0\n0\nroot\n/root\n\nmore\n"]
    )
    def test_anything_else_is_no_answer(self, said):
        assert guest.read_facts(said) is None


class TestServerWords:
    def test_settings_and_program_stand_behind_their_lengths(self):
        words = guest.server_words({"user": "nöde"})
        size = int(words[:8])
        assert json.loads(words[8 : 8 + size]) == {"user": "nöde"}
        program = words[8 + size :]
        assert int(program[:8]) == len(program) - 8
        tree = ast.parse(program[8:])
        assert {"start_server", "serve"} <= {
            node.name for node in tree.body if isinstance(node, ast.FunctionDef)
        }

    def test_the_program_needs_nothing_of_ours(self):
        """It runs where there is only a Python."""
        size = int(guest.server_words({})[:8])
        program = guest.server_words({})[16 + size :]
        script = f"space = {{'__name__': 'guest'}}; exec({program!r}, space); space['start_server']"
        subprocess.run([sys.executable, "-I", "-S", "-c", script], check=True)

    def test_neither_is_an_argument(self):
        """Process lists of the guest would show it."""
        assert not any("pytest_bottle" in word for word in guest.start_server_command())
