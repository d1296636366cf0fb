"""Share one bottle among the tests of a module.

Worth it where getting ready takes long. The scope may be `class`, `module`, `session` (one for each
xdist worker) or `run` (one for all workers). Tests that share a bottle see each other's traces, so
each must still pass alone and in any order: the fixture below builds only what is not built yet.
"""

import pytest

pytestmark = pytest.mark.bottle(scope="module")


@pytest.fixture
def greeter(bottle):
    bottle.sh("""
        test -x greet && exit
        echo built >> builds.log
        printf '#!/bin/sh\necho "hello $1"\n' > greet
        chmod +x greet
    """).check()
    return bottle


def test_it_greets_a_person(greeter):
    assert greeter.exec(["./greet", "Ada"]).stdout == "hello Ada\n"


def test_it_greets_the_world(greeter):
    assert greeter.exec(["./greet", "world"]).stdout == "hello world\n"


def test_it_was_built_once(greeter):
    assert greeter.read_file("builds.log") == "built\n"
