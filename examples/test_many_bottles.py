"""Use several bottles in one test, or one that a fixture of your own makes.

`bottle_factory` takes the arguments of `@pytest.mark.bottle`. A bottle ends with the test or the
fixture that asked for it; a `with` statement ends it earlier.
"""

import pytest


def test_two_bottles_do_not_see_each_other(bottle_factory):
    one, other = bottle_factory(), bottle_factory()

    one.write_file("/tmp/secret.txt", "42")

    assert not other.exists("/tmp/secret.txt")


def test_a_result_is_handed_on(bottle_factory):
    with bottle_factory() as builder:
        builder.sh("echo 'print the answer: 42' > report.txt").check()
        report = builder.read_file("report.txt")

    with bottle_factory(memory="64M") as reader:
        assert reader.exec(["grep", "-c", "42"], input=report).stdout == "1\n"


@pytest.fixture(scope="module")
def library(bottle_factory):
    """A bottle that lives as long as this module."""
    bottle = bottle_factory(workdir="/library")
    bottle.write_file("books.txt", "Emma\nPersuasion\n")
    return bottle


@pytest.mark.parametrize("title", ["Emma", "Persuasion"])
def test_the_library_has(library, title):
    assert title in library.read_file("books.txt").splitlines()
