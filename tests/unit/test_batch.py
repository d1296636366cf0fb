"""The batch: one real shell, one real tar, and what is in the guest afterwards."""

from __future__ import annotations

import io
import os
import shutil
import socket
import stat
import subprocess
import tarfile
import time
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.errors import ManifestError
from pytest_bottle.errors import UnsafePathError
from pytest_bottle.provision.batch import build_batch
from pytest_bottle.provision.steps import MakeDirectory
from pytest_bottle.provision.steps import PutFile
from pytest_bottle.provision.steps import PutTree
from pytest_bottle.provision.steps import Run
from pytest_bottle.provision.steps import Step

if TYPE_CHECKING:
    from pathlib import Path

WORKDIR = MakeDirectory(path="/work dir")


@pytest.fixture(params=["system", "busybox"])
def path(request, tmp_path_factory):
    """Return a PATH with this host's own tools, or with busybox's alone."""
    if request.param == "system":
        return os.environ["PATH"]
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("no busybox on PATH (apt install busybox)")
    tools = tmp_path_factory.mktemp("busybox")
    for name in ("sh", "tar", "mkdir", "rm", "ls", "cat", "env", "id"):
        (tools / name).symlink_to(busybox)
    return str(tools)


@pytest.fixture
def root(tmp_path):
    """Return a directory that stands for a guest's root."""
    root = tmp_path / "it's a root"
    root.mkdir()
    return root


@pytest.fixture
def host(tmp_path):
    """Return a directory on the host."""
    host = tmp_path / "host"
    host.mkdir()
    return host


@pytest.fixture
def run(path, root):
    """Perform steps and return the process."""

    def run(*steps, mask=-1):
        batch = build_batch([WORKDIR, *steps], workdir=WORKDIR.path, root=str(root))
        return subprocess.run(
            batch.script,
            input=batch.archive,
            capture_output=True,
            env={"PATH": path},
            cwd="/",
            umask=mask,
            timeout=30,
            check=False,
        )

    return run


@pytest.fixture
def perform(run):
    """Perform steps that must succeed and say nothing."""

    def perform(*steps, **options):
        process = run(*steps, **options)
        assert (process.returncode, process.stderr) == (0, b"")
        return process

    return perform


def mode(path: Path) -> int:
    """Return a path's permission bits."""
    return stat.S_IMODE(path.lstat().st_mode)


def make_tree(host: Path) -> Path:
    """Make a tree with modes, an empty directory, a link and a name that needs care."""
    tree = host / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "empty").mkdir(mode=0o700)
    (tree / "bin" / "run").write_text("#!/bin/sh")
    (tree / "bin" / "run").chmod(0o750)
    (tree / "-rf 'é' $(x)\n").write_text("odd")
    (tree / ("n" * 200)).write_text("long")
    (tree / "link").symlink_to("bin/run")
    (tree / "bin" / "up").symlink_to("../empty")
    tree.chmod(0o711)
    return tree


class TestPuts:
    """Files arrive with their content and permission bits."""

    def test_a_directory_is_made_with_those_above_it(self, perform, root):
        perform(MakeDirectory(path="/a/b c/d"))
        assert (root / "a/b c/d").is_dir()

    def test_content_arrives(self, perform, root):
        perform(PutFile(path="/etc/app/motd", content="héllo\n".encode()))
        assert (root / "etc/app/motd").read_text(encoding="utf-8") == "héllo\n"
        assert mode(root / "etc/app/motd") == 0o644

    def test_a_file_of_the_host_arrives_with_its_mode_and_time(self, perform, root, host):
        source = host / "run"
        source.write_bytes(bytes(range(256)) * 100)
        source.chmod(0o750)
        os.utime(source, (1_000_000_000, 1_000_000_000))
        perform(PutFile(path="/run", source=source))
        assert (root / "run").read_bytes() == source.read_bytes()
        assert (mode(root / "run"), (root / "run").stat().st_mtime) == (0o750, 1_000_000_000)

    def test_a_mode_of_its_own_goes_before_the_sources(self, perform, root, host):
        (host / "run").touch()
        perform(PutFile(path="/run", source=host / "run", mode=0o500))
        assert mode(root / "run") == 0o500

    @pytest.mark.parametrize("mask", [0o000, 0o077])
    def test_modes_do_not_depend_on_the_umask(self, perform, root, mask):
        perform(PutFile(path="/a/b", content=b"", mode=0o666), mask=mask)
        assert (mode(root / "a"), mode(root / "a/b")) == (0o755, 0o666)

    def test_set_id_bits_stay_on_the_host(self, perform, root, host):
        (host / "run").touch()
        (host / "run").chmod(0o4755)
        perform(PutFile(path="/run", source=host / "run"))
        assert mode(root / "run") == 0o755

    def test_an_existing_file_is_replaced_and_its_directory_left_alone(self, perform, root):
        (root / "etc").mkdir(mode=0o700)
        (root / "etc" / "motd").write_text("old and longer")
        perform(PutFile(path="/etc/motd", content=b"new"))
        assert (root / "etc/motd").read_text() == "new"
        assert mode(root / "etc") == 0o700

    def test_a_link_in_the_guest_is_replaced_and_not_written_through(self, perform, root, host):
        (host / "victim").write_text("untouched")
        (root / "motd").symlink_to(host / "victim")
        perform(PutFile(path="/motd", content=b"new"))
        assert (host / "victim").read_text() == "untouched"
        assert (root / "motd").read_text() == "new"

    def test_a_tree_arrives_whole(self, perform, root, host):
        tree = make_tree(host)
        perform(PutTree(path="/opt/tree", source=tree, wipe=True))
        arrived = root / "opt/tree"
        assert {path.name for path in arrived.iterdir()} == {path.name for path in tree.iterdir()}
        assert (arrived / "-rf 'é' $(x)\n").read_text() == "odd"
        assert (arrived / ("n" * 200)).read_text() == "long"
        assert (mode(arrived), mode(arrived / "empty"), mode(arrived / "bin/run")) == (
            0o711,
            0o700,
            0o750,
        )
        assert (arrived / "link").readlink() == tree.joinpath("link").readlink()
        assert (arrived / "bin/up").resolve() == arrived / "empty"

    def test_a_tree_without_wipe_joins_what_is_there(self, perform, root, host):
        tree = make_tree(host)
        (root / "opt").mkdir(mode=0o750)
        (root / "opt" / "old").touch()
        perform(PutTree(path="/opt", source=tree))
        assert (root / "opt/old").exists()
        assert (root / "opt/bin/run").exists()
        assert mode(root / "opt") == 0o750

    def test_a_tree_with_wipe_replaces_what_is_there(self, perform, root, host):
        (root / "opt" / "tree" / "sub").mkdir(parents=True)
        (root / "opt" / "tree" / "sub" / "old").touch()
        (root / "opt" / "other").touch()
        perform(PutTree(path="/opt/tree", source=make_tree(host), wipe=True))
        assert not (root / "opt/tree/sub").exists()
        assert (root / "opt/other").exists()

    def test_a_directory_that_may_not_be_written_to_arrives_open_to_its_owner(
        self, perform, root, host
    ):
        (host / "tree" / "sub").mkdir(parents=True)
        (host / "tree" / "sub" / "file").touch()
        for directory in (host / "tree" / "sub", host / "tree"):
            directory.chmod(0o555)
        perform(PutTree(path="/tree", source=host / "tree", wipe=True))
        assert (mode(root / "tree"), mode(root / "tree/sub")) == (0o755, 0o755)
        assert (root / "tree/sub/file").exists()

    def test_wiping_a_link_leaves_alone_what_it_leads_to(self, perform, root, host):
        (host / "victim").mkdir()
        (host / "victim" / "file").touch()
        (root / "tree").symlink_to(host / "victim")
        perform(PutTree(path="/tree", source=make_tree(host), wipe=True))
        assert (host / "victim/file").exists()
        assert not (host / "victim/bin").exists()

    def test_an_empty_tree_is_an_empty_directory(self, perform, root, host):
        perform(PutTree(path="/tree", source=host, wipe=True))
        assert list((root / "tree").iterdir()) == []

    def test_files_put_into_a_wiped_tree_stay(self, perform, root, host):
        """Wipes come before all files, whatever the order of the steps."""
        tree = make_tree(host)
        perform(
            PutFile(path="/opt/tree/extra", content=b"x"),
            PutTree(path="/opt/tree", source=tree, wipe=True),
        )
        assert (root / "opt/tree/extra").read_text() == "x"

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
    def test_owners_stay_on_the_host(self, perform, root, host):
        (host / "file").touch()
        os.chown(host / "file", 12345, 12345)
        perform(PutFile(path="/file", source=host / "file"))
        assert (root / "file").stat().st_uid == 0


class TestRuns:
    """Commands come last, in order, and stop at the first that fails."""

    def test_they_see_the_files(self, perform, root):
        perform(
            Run(argv=("sh", "-c", 'cat "$0" >"$1"', str(root / "a"), str(root / "b"))),
            PutFile(path="/a", content=b"content"),
        )
        assert (root / "b").read_text() == "content"

    def test_they_run_in_order(self, perform, root):
        log = str(root / "log")
        perform(
            *(Run(argv=("sh", "-c", 'echo "$1" >>"$0"', log, word)) for word in ("one", "t w o"))
        )
        assert (root / "log").read_text() == "one\nt w o\n"

    def test_their_environment_is_their_own(self, run):
        process = run(
            Run(argv=("sh", "-c", 'echo "$A"'), env=(("A", "it's = $HOME"),)),
            Run(argv=("sh", "-c", 'echo "${A-unset}"')),
        )
        assert process.stderr == b"it's = $HOME\nunset\n"

    def test_their_output_goes_to_stderr(self, run):
        process = run(Run(argv=("sh", "-c", "echo out; echo err >&2")))
        assert (process.stdout, process.stderr) == (b"", b"out\nerr\n")

    def test_their_stdin_is_empty(self, perform):
        """The archive is not theirs to read."""
        perform(Run(argv=("sh", "-c", 'test -z "$(cat)"')))

    def test_a_failure_ends_it_with_its_code(self, run, root):
        process = run(Run(argv=("sh", "-c", "exit 7")), Run(argv=("mkdir", str(root / "never"))))
        assert process.returncode == 7
        assert process.stderr == b"pytest-bottle: provisioning command failed: sh\n"
        assert not (root / "never").exists()

    def test_a_failure_that_is_not_required_is_a_warning(self, run, root):
        process = run(
            Run(argv=("sh", "-c", "exit 7"), required=False),
            Run(argv=("mkdir", str(root / "after"))),
        )
        assert process.returncode == 0
        assert process.stderr == b"pytest-bottle: provisioning command failed: sh\n"
        assert (root / "after").exists()


class TestBaseline:
    """At the end the workdir is written to stdout, as it then is."""

    def test_an_empty_workdir_is_no_output(self, perform):
        assert perform(PutFile(path="/elsewhere", content=b"")).stdout == b""

    def test_what_is_in_the_workdir_is_a_tar(self, perform, root, host):
        (root / "work dir").mkdir()
        (root / "work dir" / "old").write_text("old")
        process = perform(
            PutFile(path="/work dir/.hidden/new", content=b"new"),
            Run(argv=("sh", "-c", 'echo made >"$0"', str(root / "work dir" / "made"))),
        )
        with tarfile.open(fileobj=io.BytesIO(process.stdout)) as tar:
            tar.extractall(host, filter="data")
            files = {name: host / name for name in tar.getnames() if (host / name).is_file()}
        content = {name: path.read_bytes() for name, path in files.items()}
        assert content == {"./old": b"old", "./.hidden/new": b"new", "./made": b"made\n"}

    def test_a_single_hidden_file_counts(self, perform):
        assert perform(PutFile(path="/work dir/.env", content=b"")).stdout


class TestFailures:
    """A step that cannot be performed fails the whole batch."""

    def test_a_failing_mkdir_is_a_failure(self, run, root):
        (root / "file").touch()
        process = run(MakeDirectory(path="/file/below"), PutFile(path="/never", content=b""))
        assert process.returncode != 0
        assert b"file" in process.stderr
        assert not (root / "never").exists()

    def test_a_failing_tar_is_a_failure(self, run, root):
        (root / "busy" / "sub").mkdir(parents=True)
        process = run(PutFile(path="/busy", content=b""), Run(argv=("mkdir", str(root / "never"))))
        assert process.returncode != 0
        assert not (root / "never").exists()


class TestRefusals:
    """What is unsafe or gone is found on the host, before anything is sent."""

    @pytest.mark.parametrize("path", ["relative", "/a/../b", "/a//b", "/a/", "//a", "", "/a\0b"])
    def test_a_path_that_is_not_absolute_and_plain_is_refused(self, path):
        with pytest.raises(UnsafePathError, match="must be absolute and in its normal form"):
            build_batch([PutFile(path=path, content=b"")], workdir="/w")
        with pytest.raises(UnsafePathError, match="must be absolute and in its normal form"):
            build_batch([], workdir=path)

    def test_wiping_the_root_is_refused(self, host):
        with pytest.raises(UnsafePathError, match="the root cannot be wiped"):
            build_batch([PutTree(path="/", source=host, wipe=True)], workdir="/w")

    @pytest.mark.parametrize("other", ["/a", "/a/b"])
    def test_two_things_at_one_path_are_refused(self, other):
        steps = [PutFile(path="/a", content=b""), PutFile(path=other, content=b"")]
        for order in (steps, steps[::-1]):
            with pytest.raises(UnsafePathError, match="two things are to be put at"):
                build_batch(order, workdir="/w")

    def test_a_file_where_a_tree_has_one_is_refused(self, host):
        tree = make_tree(host)
        steps: list[Step] = [
            PutTree(path="/t", source=tree),
            PutFile(path="/t/bin/run", content=b""),
        ]
        with pytest.raises(UnsafePathError, match=r"refused '/t/bin/run': two things"):
            build_batch(steps, workdir="/w")

    def test_trees_may_share_directories(self, host):
        for name in ("one", "two"):
            (host / name / "shared").mkdir(parents=True)
            (host / name / "shared" / name).touch()
        steps = [PutTree(path="/t", source=host / name) for name in ("one", "two")]
        assert build_batch(steps, workdir="/w").archive

    @pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "bin/../../outside"])
    def test_a_link_out_of_a_tree_is_refused(self, host, target):
        tree = make_tree(host)
        (tree / "bad").symlink_to(target)
        with pytest.raises(UnsafePathError) as caught:
            build_batch([PutTree(path="/t", source=tree)], workdir="/w")
        assert str(caught.value) == (
            f"refused '{tree / 'bad'}': it is a symbolic link that leads out of {tree}, "
            f"to '{target}'."
        )

    def test_a_link_to_a_directory_is_never_walked(self, host, root, perform):
        (host / "tree").mkdir()
        (host / "tree" / "loop").symlink_to(".")
        perform(PutTree(path="/t", source=host / "tree"))
        assert (root / "t/loop").is_symlink()

    def test_a_skill_directory_may_itself_be_a_link(self, host, root, perform):
        """It was named by its user, unlike the links inside of it."""
        (host / "link").symlink_to(make_tree(host))
        perform(PutTree(path="/t", source=host / "link", wipe=True))
        assert (root / "t/bin/run").is_file()

    def test_a_pipe_in_a_tree_is_refused_without_waiting_for_it(self, host):
        os.mkfifo(host / "pipe")
        started = time.monotonic()
        for step in (
            PutTree(path="/t", source=host),
            PutFile(path="/t", source=host / "pipe"),
        ):
            with pytest.raises(ManifestError, match=r"pipe: is neither a file nor a directory"):
                build_batch([step], workdir="/w")
        assert time.monotonic() - started < 5

    def test_a_socket_in_a_tree_is_refused(self, host, monkeypatch):
        monkeypatch.chdir(host)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket")
            with pytest.raises(ManifestError, match="socket: is neither a file nor a directory"):
                build_batch([PutTree(path="/t", source=host)], workdir="/w")

    @pytest.mark.parametrize("kind", [PutFile, PutTree])
    def test_a_source_that_vanished_is_an_error(self, host, kind):
        with pytest.raises(ManifestError) as caught:
            build_batch([kind(path="/a", source=host / "gone")], workdir="/w")
        assert str(caught.value) == (
            f"{host / 'gone'}: vanished before it was copied. Put it back until the tests end."
        )

    def test_a_source_of_the_wrong_kind_is_an_error(self, host):
        (host / "file").touch()
        with pytest.raises(ManifestError, match="cannot be read: Not a directory"):
            build_batch([PutTree(path="/a", source=host / "file")], workdir="/w")
        with pytest.raises(ManifestError, match="is neither a file nor a directory"):
            build_batch([PutFile(path="/a", source=host)], workdir="/w")

    @pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
    def test_a_source_that_cannot_be_read_is_an_error(self, host):
        (host / "file").touch(mode=0o000)
        with pytest.raises(ManifestError, match="file: cannot be read: Permission denied"):
            build_batch([PutTree(path="/a", source=host)], workdir="/w")


def test_a_batch_is_one_command_with_one_archive():
    """Its size on the command line does not grow with what it carries."""
    steps = [PutFile(path=f"/data/{number}", content=b"x" * 1000) for number in range(1000)]
    batch = build_batch(steps, workdir="/w")
    assert batch.script[:2] == ("sh", "-c")
    assert len(batch.script) == 3
    assert len(batch.script[2]) < 1000


def test_without_files_there_is_no_archive(run):
    batch = build_batch([MakeDirectory(path="/w")], workdir="/w")
    assert batch.archive == b""
    assert run().returncode == 0
