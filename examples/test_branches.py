"""Try one state several ways: `bottle.branch()` is a second bottle from where this one is now.

A branch has all the files, and an agent, a model and a record of its own. Nothing that one of them
changes is seen in another. With `golden=True` each test's bottle is itself a branch, of one that
was provisioned once for the run: worth it where there is much to provision and many a test.
"""

import pytest

PROJECT = {"project": "project", "build.sh": {"text": "echo built > result\n"}}


@pytest.mark.parametrize("answer", ["yes", "no"])
@pytest.mark.bottle(golden=True, files=PROJECT)
def test_each_test_has_the_golden_state(bottle, answer):
    assert not bottle.exists("result")
    bottle.sh("sh build.sh && rm -r project").check()
    bottle.write_file("answer", answer)


def test_one_state_goes_on_two_ways(bottle):
    bottle.write_file("config.ini", "workers = 1\n")

    with bottle.branch() as careless, bottle.branch() as careful:
        careless.sh("rm config.ini").check()
        careful.sh("echo 'workers = 2' > config.ini").check()

        assert careless.diff().deleted == ("config.ini",)
        assert careful.touched("config.ini")

    assert bottle.read_file("config.ini") == "workers = 1\n"
