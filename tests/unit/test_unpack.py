"""Archives from a guest: what is good comes out as it was, what is hostile has no effect."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Literal

import pytest

from pytest_bottle.errors import OutputLimitError
from pytest_bottle.errors import UnsafePathError
from pytest_bottle.unpack import DEPTH_LIMIT
from pytest_bottle.unpack import MEMBER_LIMIT
from pytest_bottle.unpack import members
from pytest_bottle.unpack import unpack

LIMIT = 1024 * 1024
GIB = 1024**3

Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", **fields) -> Member:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(content)
    info.mode = 0o755
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def file(name: str, content: bytes = b"planted", **fields) -> Member:
    return member(name, content=content, **fields)


def directory(name: str, **fields) -> Member:
    return member(name, tarfile.DIRTYPE, **fields)


def link(name: str, target: str) -> Member:
    return member(name, tarfile.SYMTYPE, linkname=target)


def hard_link(name: str, target: str) -> Member:
    return member(name, tarfile.LNKTYPE, linkname=target)


def archive(*entries: Member, form: Literal[0, 1, 2] = tarfile.GNU_FORMAT) -> bytes:
    """Return the entries as a tar, header by header: no library refuses what is hostile in them."""
    data = b"".join(
        info.tobuf(form) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
        for info, content in entries
    )
    return data + bytes(2 * tarfile.BLOCKSIZE)


def extended(headers: dict[str, str], kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return a harmless member that its extended headers turn into another."""
    content = b"planted" if kind == tarfile.REGTYPE else b""
    return archive(member("t/file", kind, content, pax_headers=headers), form=tarfile.PAX_FORMAT)


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    path = tmp_path / "inside"
    path.mkdir()
    return path


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file beside the directory that is unpacked into."""
    path = tmp_path / "canary"
    path.write_text("host")
    return path


def take(data: bytes, root: Path, *, limit: int = LIMIT) -> None:
    unpack(io.BytesIO(data), root, limit=limit)


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


class TestGoodTrees:
    def test_files_directories_and_links_come_out(self, inside):
        take(
            archive(
                directory("./t"),
                directory("./t/empty"),
                file("./t/a/b", b"content"),
                link("./t/a/up", "../empty"),
                link("./t/here", "."),
                link("./t/nowhere", "missing"),
            ),
            inside,
        )
        assert tree(inside) == {"t", "t/empty", "t/a", "t/a/b", "t/a/up", "t/here", "t/nowhere"}
        assert (inside / "t/a/b").read_bytes() == b"content"
        assert (inside / "t/a/up").readlink() == Path("../empty")
        assert (inside / "t/here").resolve() == inside / "t"

    @pytest.mark.parametrize(
        ("mode", "kept"), [(0o640, 0o640), (0o755, 0o755), (0o000, 0o600), (0o6777, 0o755)]
    )
    def test_a_file_keeps_its_mode_less_what_endangers_the_host(self, inside, mode, kept):
        """Its owner can read it; nobody else can write it; it runs as nobody else."""
        take(archive(file("t", mode=mode)), inside)
        assert stat.S_IMODE((inside / "t").stat().st_mode) == kept

    @pytest.mark.parametrize(
        ("mode", "kept"), [(0o750, 0o750), (0o700, 0o700), (0o500, 0o700), (0o7777, 0o755)]
    )
    def test_a_directory_keeps_its_mode_and_can_be_filled_and_removed(self, inside, mode, kept):
        take(archive(directory("t", mode=mode), file("t/file")), inside)
        assert stat.S_IMODE((inside / "t").stat().st_mode) == kept
        assert (inside / "t/file").exists()

    def test_owners_are_ignored(self, inside):
        take(archive(file("t", uid=12345, gid=12345, uname="daemon")), inside)
        assert (inside / "t").stat().st_uid == os.geteuid()

    def test_a_hard_link_is_its_target(self, inside):
        take(archive(file("t/a", b"same"), hard_link("t/b", "./t/a")), inside)
        assert (inside / "t/a").samefile(inside / "t/b")

    def test_names_of_any_length_and_bytes_come_out(self, inside):
        name = "t/" + "d" * 150 + "/" + os.fsdecode(b"\xff\n*") + "\\x"
        take(archive(file(name)), inside)
        assert (inside / name).read_bytes() == b"planted"

    def test_what_real_tar_makes_is_read(self, inside, tmp_path):
        """Sparse files included."""
        (tmp_path / "source").mkdir()
        with (tmp_path / "source" / "sparse").open("wb") as sparse:
            sparse.seek(LIMIT - 1)
            sparse.write(b"x")
        packed = subprocess.run(
            ["tar", "-cSf", "-", "-C", tmp_path, "./source"], stdout=subprocess.PIPE, check=True
        )
        data = packed.stdout
        assert len(data) < LIMIT
        take(data, inside)
        assert (inside / "source/sparse").read_bytes() == bytes(LIMIT - 1) + b"x"


class TestNames:
    @pytest.mark.parametrize(
        "name",
        ["../planted", "t/../../planted", "t/..", "/planted", "//planted", "./../planted", ".."],
    )
    @pytest.mark.parametrize("make", [file, directory], ids=["file", "directory"])
    def test_a_name_that_leaves_is_refused(self, inside, canary, make, name):
        with pytest.raises(UnsafePathError, match="leaves the directory"):
            take(archive(make(name)), inside)
        assert tree(inside.parent) == {"inside", canary.name}

    @pytest.mark.parametrize("name", ["../planted", "{}", "t/x\0y"])
    def test_an_extended_header_cannot_hide_one(self, inside, canary, name):
        with pytest.raises(UnsafePathError):
            take(extended({"path": name.format(canary)}), inside)
        assert canary.read_text() == "host"

    def test_a_component_that_is_too_long_is_refused(self, inside):
        with pytest.raises(UnsafePathError):
            take(archive(file("t/" + "x" * 300 + "/file")), inside)

    def test_a_tree_that_nothing_could_walk_is_refused(self, inside):
        with pytest.raises(UnsafePathError, match=f"more than {DEPTH_LIMIT} directories deep"):
            take(archive(directory("d/" * 3000)), inside)
        assert tree(inside) == set()


class TestLinks:
    @pytest.mark.parametrize(
        "target", ["/etc/passwd", "../../canary", "../canary", "x/../../../canary", "./../../x"]
    )
    def test_a_link_that_leads_out_of_the_tree_is_refused(self, inside, target):
        """Out of the tree that it came in, not only out of what is unpacked."""
        with pytest.raises(UnsafePathError, match="leads out"):
            take(archive(directory("t"), link("t/link", target)), inside)

    def test_a_link_alone_leads_out_wherever_it_leads(self, inside):
        """It has no tree that it could stay in."""
        with pytest.raises(UnsafePathError, match="leads out"):
            take(archive(link("t", "canary")), inside)

    def test_dot_dot_behind_a_link_is_refused(self, inside):
        """It would mean the parent of where that link leads."""
        with pytest.raises(UnsafePathError, match="leads out"):
            take(archive(directory("t"), link("t/s", "."), link("t/x", "s/../../canary")), inside)

    @pytest.mark.parametrize("target", [".", "a", "{outside}"])
    def test_no_file_is_written_through_a_link(self, inside, canary, target):
        """Whatever the order in the archive, files are there before links."""
        entries = [
            directory("t"),
            directory("t/a"),
            link("t/s", target.format(outside=canary.parent)),
            file("t/s/canary"),
        ]
        with pytest.raises(UnsafePathError):
            take(archive(*entries), inside)
        assert canary.read_text() == "host"
        assert not (inside / "t/a/canary").exists()

    def test_a_chain_of_links_cannot_climb(self, inside, canary):
        """`s -> .` and then a name below `s/..`."""
        entries = [directory("t"), link("t/s", "."), file("t/s/../../../canary")]
        with pytest.raises(UnsafePathError):
            take(archive(*entries), inside)
        assert canary.read_text() == "host"

    def test_no_link_is_made_through_a_link(self, inside):
        entries = [directory("t"), directory("t/a"), link("t/s", "a"), link("t/s/x", "y")]
        with pytest.raises(UnsafePathError, match="not a directory"):
            take(archive(*entries), inside)
        assert not (inside / "t/a/x").is_symlink()

    @pytest.mark.parametrize("target", ["", "x" * 5000, "a\0b"], ids=["empty", "long", "nul"])
    def test_a_link_that_cannot_be_is_refused(self, inside, target):
        """Some of these only an extended header can say."""
        with pytest.raises(UnsafePathError):
            take(extended({"linkpath": target}, tarfile.SYMTYPE), inside)

    @pytest.mark.parametrize("target", ["../canary", "{}", "t/missing", "t", "t/s", "."])
    def test_a_hard_link_to_anything_but_a_file_of_the_archive_is_refused(
        self, inside, canary, target
    ):
        entries = [
            directory("t"),
            link("t/s", "x"),
            hard_link("t/hard", target.format(canary)),
        ]
        with pytest.raises(UnsafePathError):
            take(archive(*entries), inside)
        assert canary.stat().st_nlink == 1


class TestKinds:
    @pytest.mark.parametrize(
        "kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE], ids=["char", "block", "fifo"]
    )
    def test_devices_and_pipes_are_refused(self, inside, kind):
        with pytest.raises(UnsafePathError, match="device or a pipe"):
            take(archive(member("t", kind, devmajor=1, devminor=3)), inside)
        assert tree(inside) == set()

    @pytest.mark.parametrize(
        "entries",
        [
            [file("t/a", b"one"), file("t/a", b"two")],
            [file("t/a", b"one"), file("t/a/b", b"two")],
            [file("t/a", b"one"), directory("t/a")],
            [file("t/a", b"one"), link("t/a", "b")],
            [file("t/a", b"one"), file("t/b"), hard_link("t/a", "t/b")],
            [file("t/a", b"one"), link("t/a/b", "c")],
        ],
        ids=["file", "below", "directory", "link", "hard-link", "link-below"],
    )
    def test_what_is_in_the_way_of_another_stays(self, inside, entries):
        with pytest.raises(UnsafePathError):
            take(archive(*entries), inside)
        assert (inside / "t/a").read_bytes() == b"one"

    def test_a_directory_may_be_named_twice(self, inside):
        take(archive(directory("t"), file("t/a"), directory("t")), inside)
        assert tree(inside) == {"t", "t/a"}

    def test_nothing_is_changed_in_what_was_there(self, inside, canary):
        """An existing link is not followed, an existing file not replaced."""
        (inside / "t").symlink_to(canary.parent)
        with pytest.raises(UnsafePathError):
            take(archive(file("t/canary")), inside)
        assert canary.read_text() == "host"


class TestSizes:
    def test_the_limit_is_on_all_files_together(self, inside):
        data = archive(file("t/a", b"x" * 600), file("t/b", b"x" * 600))
        with pytest.raises(OutputLimitError, match="1199 bytes"):
            take(data, inside, limit=1199)
        shutil.rmtree(inside / "t")
        take(data, inside, limit=1200)
        assert tree(inside) == {"t", "t/a", "t/b"}

    def test_a_claimed_size_is_refused_before_it_is_read(self, inside):
        with pytest.raises(OutputLimitError):
            take(archive(file("t", b"", size=1024 * GIB)), inside)
        assert tree(inside) == set()

    @pytest.mark.parametrize(
        "headers",
        [
            {
                "GNU.sparse.major": "0",
                "GNU.sparse.minor": "1",
                "GNU.sparse.size": str(16 * GIB),
                "GNU.sparse.numblocks": "1",
                "GNU.sparse.map": "0,1",
            },
            {"GNU.sparse.size": str(16 * GIB), "GNU.sparse.map": "0,1"},
        ],
        ids=["versioned", "old"],
    )
    def test_a_sparse_file_counts_as_what_it_becomes(self, inside, headers):
        with pytest.raises(OutputLimitError):
            take(extended(headers), inside)
        assert tree(inside) == set()

    def test_a_negative_size_buys_no_room(self, inside):
        """It cannot make up for a file that is too large."""
        data = bytearray(archive(file("t/a"), file("t/b", b"x" * 2000)))
        block = data[: tarfile.BLOCKSIZE]
        block[124:136] = (-LIMIT).to_bytes(12, "big", signed=True)
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        data[: tarfile.BLOCKSIZE] = block
        with pytest.raises((UnsafePathError, OutputLimitError)):
            take(bytes(data), inside, limit=1000)

    def test_more_entries_than_anybody_needs_are_refused(self):
        header = directory("t")[0].tobuf(tarfile.USTAR_FORMAT)
        with pytest.raises(UnsafePathError, match=f"more than {MEMBER_LIMIT} entries"):
            for _ in members(io.BytesIO(header * (MEMBER_LIMIT + 1))):
                pass


class TestBroken:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"no archive\n" * 1000,
            b"\x1f\x8b" + bytes(600),
            archive(file("t"))[:300],
            archive(file("t", b"x" * 5000))[:1000],
            archive(directory("t"), file("t/a")).replace(b"t/a\0", b"t/b\0"),
        ],
        ids=["empty", "text", "compressed", "half-a-header", "half-a-file", "second-header"],
    )
    def test_what_is_no_whole_archive_is_refused(self, inside, data):
        with pytest.raises(UnsafePathError, match="no tar archive"):
            take(data, inside)

    @pytest.mark.parametrize(
        "headers",
        [
            {"GNU.sparse.map": "one,two"},
            {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "x"},
            {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"},
            {"size": "-512"},
        ],
        ids=["sparse-words", "sparse-size", "sparse-data", "negative"],
    )
    def test_nonsense_in_extended_headers_is_refused(self, inside, headers):
        with pytest.raises(UnsafePathError):
            take(extended(headers), inside)
