"""The names that the package offers, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pytest_bottle


@pytest.mark.parametrize("name", pytest_bottle.__all__)
def test_every_public_name_is_there(name):
    assert getattr(pytest_bottle, name).__name__ == name


def test_public_names_are_sorted_and_told_apart():
    assert pytest_bottle.__all__ == sorted(set(pytest_bottle.__all__))


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Bottel'"):
        _ = pytest_bottle.Bottel


def test_every_error_can_be_caught_as_a_bottle_error():
    errors = [name for name in pytest_bottle.__all__ if name.endswith("Error")]
    assert len(errors) > 5
    for name in errors:
        assert issubclass(getattr(pytest_bottle, name), pytest_bottle.BottleError)


def test_importing_the_package_imports_nothing_heavy():
    script = (
        "import pytest_bottle, sys; "
        "print({'pydantic', 'docker', 'filelock', 'asyncio', 'pytest'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
