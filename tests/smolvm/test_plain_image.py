"""A microVM whose image has a shell and little more: no Python, no GNU programs."""

from __future__ import annotations

import os

import pytest

from pytest_bottle.errors import DoorUnreachableError
from pytest_bottle.errors import UserUnsupportedError
from tests.smolvm.conftest import EMULATED

IMAGE = os.environ.get("BOTTLE_SMOLVM_PLAIN_IMAGE", "")

pytestmark = pytest.mark.skipif(not IMAGE, reason="BOTTLE_SMOLVM_PLAIN_IMAGE names no such image")


@pytest.fixture(scope="module")
def plain(bottle_factory):
    return bottle_factory(image=IMAGE, golden=False)


def test_commands_run_and_tell_their_ends(plain):
    result = plain.sh("echo out; echo err >&2; exit 7")
    assert (result.returncode, result.stdout, result.stderr) == (7, "out\n", "err\n")
    assert plain.sh("exit 1").returncode == 1
    assert plain.sh("kill -9 $$").returncode == 137
    assert plain.exec(["no-such-command"]).returncode == 127


def test_what_looks_like_the_engines_error_is_a_commands_own(plain):
    line = '{"error":{"code":"NOT_FOUND","message":"vm not found: x"}}'
    result = plain.exec(["sh", "-c", f"echo '{line}' >&2; exit 1"])
    assert (result.returncode, result.stderr) == (1, f"{line}\n")


def test_bytes_pass_both_ways(plain):
    data = bytes(range(256)) * 500
    assert plain.exec(["cat"], input=data).stdout_bytes == data


def test_files_go_in_and_out(plain):
    plain.write_file("deep/file", "text\n")
    assert plain.read_file("deep/file") == "text\n"


def test_a_timeout_kills(plain):
    with pytest.raises(TimeoutError):
        plain.sh("echo $$ > pid; sleep 100", timeout=15 if EMULATED else 2)
    assert not plain.sh("kill -0 $(cat pid)").success


def test_the_workdir_and_the_environment(plain):
    assert plain.sh('pwd; echo "$USER"; echo "$OWN"', env={"OWN": "x"}).stdout == (
        "/workspace\nroot\nx\n"
    )


def test_an_unknown_user_is_refused(plain):
    with pytest.raises(UserUnsupportedError, match="nobody-of-this-name"):
        plain.exec(["true"], user="nobody-of-this-name")


def test_the_door_says_what_it_needs(plain):
    with pytest.raises(DoorUnreachableError, match="python3"):
        plain.sandbox.listen(0)
