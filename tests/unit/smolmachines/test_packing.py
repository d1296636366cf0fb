"""How a pack is made, and that what this takes goes away again."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.backends.smolmachines.cache import list_cached
from pytest_bottle.backends.smolmachines.images import convert
from pytest_bottle.backends.smolmachines.images import pack_of
from pytest_bottle.backends.smolmachines.images import provide_image
from pytest_bottle.backends.smolmachines.labels import NAME_LABEL
from pytest_bottle.backends.smolmachines.labels import OWNER_LABEL
from pytest_bottle.backends.smolmachines.smolvm import Smolvm
from pytest_bottle.errors import ImageError
from pytest_bottle.plan import ImagePlan
from pytest_bottle.state.directory import images_directory
from pytest_bottle.state.owner import Owner
from tests.unit.smolmachines.archives import no_engine
from tests.unit.smolmachines.archives import write_archive

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """\
#!{python}
import json, sys
words = sys.argv[1:]
with open({log!r}, "a") as log:
    print(json.dumps(words), file=log)
if words[1] == {fails!r}:
    print(json.dumps(dict(error=dict(code="SMOLVM_ERROR", message="no boot"))), file=sys.stderr)
    sys.exit(1)
if words[:2] == ["pack", "create"]:
    target = words[words.index("--output") + 1]
    open(target, "w").write("a program")
    open(target + ".smolmachine", "w").write("a pack")
"""


class Engine:
    """A program that packs, and writes down what it was told."""

    def __init__(self, directory: Path, fails: str = "") -> None:
        self.log = directory / "log"
        self.log.touch()
        program = directory / "smolvm"
        program.write_text(PROGRAM.format(python=sys.executable, log=str(self.log), fails=fails))
        program.chmod(0o755)
        self.smolvm = Smolvm(program)

    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def verbs(self) -> list[str]:
        return [call[1] for call in self.calls()]


@pytest.fixture
def image(tmp_path, root):  # noqa: ARG001 - where the cache lies
    archive = write_archive(tmp_path / "image.tar", user="node", env=("A=1",))
    return convert(str(archive), print, connect=no_engine)


def test_a_machine_is_started_once_stopped_packed_and_removed(tmp_path, image):
    engine = Engine(tmp_path)
    reported: list[str] = []
    packed = pack_of(engine.smolvm, image, reported.append)
    assert [" ".join(call[:2]) for call in engine.calls()] == [
        *("machine create", "machine start", "machine stop", "pack create", "machine delete"),
    ]
    assert packed.pack is not None
    assert packed.pack.read_text() == "a pack"
    assert (packed.user, packed.env, packed.image) == ("node", {"A": "1"}, None)
    assert reported[0] == f"creating a machine of {tmp_path}/image.tar"


def test_the_machine_tells_whose_it_is(tmp_path, image):
    """Where its owner dies, nothing else does."""
    engine = Engine(tmp_path)
    pack_of(engine.smolvm, image, print)
    create = engine.calls()[0]
    name = create[create.index("--name") + 1]
    assert name.startswith(f"bottle-pack-{os.getpid()}-")
    assert f"{NAME_LABEL}={name}" in create
    assert f"{OWNER_LABEL}={Owner.current().encode()}" in create


def test_the_pack_is_kept(tmp_path, image):
    engine = Engine(tmp_path)
    first = pack_of(engine.smolvm, image, print)
    assert pack_of(engine.smolvm, image, print) == first
    assert engine.verbs().count("start") == 1


def test_bottles_start_from_a_pack_that_is_kept(tmp_path, image):
    """Whoever has one made wants machines to start sooner."""
    engine = Engine(tmp_path)
    plan = ImagePlan(reference=image.name)
    assert provide_image(engine.smolvm, plan, print, connect=no_engine) == image
    packed = pack_of(engine.smolvm, image, print)
    assert provide_image(engine.smolvm, plan, print, connect=no_engine) == packed


@pytest.mark.parametrize("verb", ["create", "start", "stop"])
def test_the_machine_goes_where_a_step_fails(tmp_path, image, verb):
    engine = Engine(tmp_path, fails=verb)
    with pytest.raises(ImageError, match="the engine cannot pack it: no boot"):
        pack_of(engine.smolvm, image, print)
    assert engine.verbs()[-1] == "delete"
    assert list_cached() == []
    assert [path.name for path in images_directory().iterdir() if path.is_dir()] == []


def test_a_pack_is_a_pack_already(tmp_path, image):
    engine = Engine(tmp_path)
    packed = pack_of(engine.smolvm, image, print)
    assert pack_of(engine.smolvm, packed, print) is packed
