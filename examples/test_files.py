"""Put files in, take files out, and see what changed.

Relative guest paths are below the bottle's `workdir`. `write_file` and `read_file` are for single
files; `copy_in` and `copy_out` also take whole directories. `diff` compares the workdir with what
it was when the bottle had been provisioned: what an agent did, and nothing that the test was given.
"""

from pathlib import Path

import pytest

PROJECT = Path(__file__).parent / "project"


def test_write_and_read(bottle):
    bottle.write_file("notes/todo.txt", "buy milk\n")
    bottle.sh("echo 'feed the cat' >> notes/todo.txt").check()

    assert bottle.read_file("notes/todo.txt") == "buy milk\nfeed the cat\n"


def test_copy_a_directory_in_and_the_result_out(bottle, tmp_path):
    bottle.copy_in(PROJECT, "src")
    bottle.sh("tar -czf project.tar.gz src").check()

    archive = bottle.copy_out("project.tar.gz", tmp_path)

    assert archive == tmp_path / "project.tar.gz"
    assert archive.stat().st_size > 0


@pytest.mark.bottle(bottle="dev")
def test_see_what_changed(bottle):
    bottle.sh("sed -i 's/find_user/get_user/' app.py; touch new.txt").check()

    diff = bottle.diff()

    assert diff.modified == ("app.py",)
    assert diff.added == ("new.txt",)
    assert "+def get_user(cursor, name):" in diff.text
