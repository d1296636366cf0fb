"""Small images for tests: archives as `docker save` writes them, and an engine that has some."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.backends.smolmachines.archive import host_arch
from pytest_bottle.backends.source import SourceImage
from pytest_bottle.errors import CapabilityError

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Generator
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path


def archive_bytes(
    *,
    user: str = "",
    env: tuple[str, ...] = (),
    arch: str | None = None,
    content: bytes = b"x",
    times: int = 1,
) -> bytes:
    """An image of one layer with one file; `times` is how many the manifest has."""
    layer = _tar({"file": content})
    digest = hashlib.sha256(layer).hexdigest()
    config = {
        "architecture": host_arch() if arch is None else arch,
        "os": "linux",
        "config": {"User": user, "Env": list(env)},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    text = json.dumps(config).encode()
    name = f"{hashlib.sha256(text).hexdigest()}.json"
    manifest: Any = [{"Config": name, "RepoTags": None, "Layers": [f"{digest}/layer.tar"]}]
    manifest *= times
    return _tar(
        {
            f"{digest}/layer.tar": layer,
            name: text,
            "manifest.json": json.dumps(manifest).encode(),
        }
    )


def write_archive(path: Path, **image: Any) -> Path:
    path.write_bytes(archive_bytes(**image))
    path.chmod(0o644)
    return path


def _tar(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


class Shelf:
    """An engine that has a few images, and builds one from any Dockerfile."""

    def __init__(self, **images: bytes) -> None:
        self.images = {name.replace("_", "-"): content for name, content in images.items()}
        self.saved: list[str] = []
        self.breaks_after: int | None = None

    def find(self, reference: str) -> SourceImage | None:
        content = self.images.get(reference)
        if content is None:
            return None
        digest = hashlib.sha256(content).hexdigest()
        return SourceImage(name=reference, id=f"sha256:{digest}", size=len(content))

    def build(
        self,
        dockerfile: Path,
        build_args: tuple[tuple[str, str], ...],
        report: Callable[[str], None],
    ) -> SourceImage:
        report(f"building {dockerfile}")
        content = archive_bytes(content=repr((dockerfile.read_text(), build_args)).encode())
        self.images[str(dockerfile)] = content
        found = self.find(str(dockerfile))
        assert found is not None
        return found

    def save(self, image: SourceImage) -> Generator[bytes, None, None]:
        self.saved.append(image.name)
        content = self.images[image.name]
        for start in range(0, len(content), 1000):
            if self.breaks_after is not None and start >= self.breaks_after:
                raise CapabilityError("docker", reason="it went away.")
            yield content[start : start + 1000]

    @contextlib.contextmanager
    def connect(self) -> Iterator[Shelf]:
        yield self


def no_engine() -> AbstractContextManager[Shelf]:
    raise CapabilityError("docker", reason="nothing listens there.")
