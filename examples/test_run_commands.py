"""Run commands in a bottle.

A command that fails is a result to assert on, not an exception; `check()` turns it into one. What
does raise is what a test cannot go on from: a command that ran out of time, too much output, a
sandbox that went away. Each test gets a bottle of its own.
"""

import pytest


def test_a_command_has_a_result(bottle):
    result = bottle.exec(["echo", "hello from", "the bottle"])

    assert result.success
    assert result.stdout == "hello from the bottle\n"


def test_a_failing_command_is_a_result_too(bottle):
    result = bottle.sh("echo 'disk on fire' >&2; exit 3")

    assert result.returncode == 3
    assert result.stderr == "disk on fire\n"


def test_input_environment_and_directory_are_arguments(bottle):
    result = bottle.sh(
        "read -r word; echo $GREETING $word from $PWD",
        input="world\n",
        env={"GREETING": "hello"},
        cwd="/tmp",
    )

    assert result.check().stdout == "hello world from /tmp\n"


def test_a_timeout_kills_the_command_and_its_children(bottle):
    with pytest.raises(TimeoutError):
        bottle.sh("sleep 300 & sleep 300", timeout=0.5)

    running = bottle.sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout
    assert "sleep 300" not in running
