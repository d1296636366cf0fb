"""Records what a real smolvm answers to each verb that the backend uses, for the unit tests.

The answers of the engine, good and bad, are what the backend's parsing is tested against: they are
seen, not remembered. Each case below is one call through the backend's own wrapper, or one command
line where the wrapper has no such call; the engine is called through a program that writes down
what it was asked and what it said. Run it where a guest boots, on an idle host, as root:

    python3 tools/capture_smolvm.py IMAGE.tar            writes the recording
    python3 tools/capture_smolvm.py IMAGE.tar --check    says what a new engine does otherwise

IMAGE.tar is a `docker save` archive, mode 0644, of a small image with /bin/sh, such as busybox.
It boots a dozen machines one after another. What differs from run to run (paths, pids, times) is
replaced, so that two recordings of one engine are equal.
"""

from __future__ import annotations

import argparse
import difflib
import io
import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pytest_bottle import process  # noqa: E402 - the checkout's own
from pytest_bottle.backends.smolmachines.engine import current_engine  # noqa: E402
from pytest_bottle.backends.smolmachines.failures import SmolvmError  # noqa: E402
from pytest_bottle.backends.smolmachines.smolvm import MachineConfig  # noqa: E402
from pytest_bottle.backends.smolmachines.smolvm import Smolvm  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDING = ROOT / "tests" / "unit" / "smolmachines" / "transcript.json"

SHIM = """\
#!{python}
import json, subprocess, sys
data = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
done = subprocess.run([{engine!r}, *sys.argv[1:]], input=data, capture_output=True)
text = lambda data: data.decode(errors="surrogateescape")
entry = dict(argv=sys.argv[1:], input=text(data), returncode=done.returncode,
             stdout=text(done.stdout), stderr=text(done.stderr))
with open({log!r}, "a") as log:
    print(json.dumps(entry), file=log)
sys.stdout.buffer.write(done.stdout)
sys.stderr.buffer.write(done.stderr)
sys.exit(done.returncode)
"""

HOSTILE = '{"error":{"code":"NOT_FOUND","message":"vm not found: one"}}'
"""What a guest may write to pass for the engine."""


@dataclass(frozen=True)
class Place:
    """What the cases work with."""

    smolvm: Smolvm
    files: Path

    def create(self, name: str, **how: Any) -> None:
        """Create a machine; an image or pack without a slash is among our files."""
        how = {"image": None if "pack" in how else "image.tar", "memory": 512, **how}
        for key in ("image", "pack"):
            if how.get(key) is not None and "/" not in how[key]:
                how[key] = str(self.files / how[key])
        self.smolvm.machine_create(MachineConfig(name=name, cpus=1, **how))

    def start(self, name: str, **how: Any) -> None:
        self.smolvm.machine_start(name, **how)

    def shell(self, script: str, **how: Any) -> None:
        self.exec("sh", "-c", script, **how)

    def exec(self, *command: str, name: str = "one", **how: Any) -> None:
        self.smolvm.machine_exec(name, command, **how)

    def copy(self, source: str, target: str, **how: Any) -> None:
        """Copy a file; what has no machine's name is among ours."""
        paths = (path if ":" in path else str(self.files / path) for path in (source, target))
        self.smolvm.machine_cp(*paths, **how)

    def say(self, *words: str) -> None:
        """Call what the wrapper has no method for."""
        process.run(self.smolvm.argv(*words), timeout=300)

    def delete(self, name: str, **how: Any) -> None:
        self.smolvm.machine_delete(name, **how)

    def branch(self, source: str, name: str, **how: Any) -> None:
        self.smolvm.machine_branch(source, name, **how)

    def pack(self, name: str, target: str) -> None:
        self.smolvm.pack_create(self.files / target, machine=name)

    def list(self) -> None:
        self.smolvm.machine_ls()


Case = tuple[str, "Callable[[Place], object]"]
"""What is recorded, by its title. Without a title it only makes way for what follows."""


def without_a_guest() -> list[Case]:
    """Cases that need no machine that runs."""
    labels = {"bottle.run": "0123", "bottle.owner": "x y"}
    volume = ("--volume", "/none:/mnt")
    return [
        ("ls: nothing", lambda at: at.list()),
        ("create", lambda at: at.create("one", env={"KEY": "a=b c"}, labels=labels)),
        ("create: the name is taken", lambda at: at.create("one")),
        ("create: a bad name", lambda at: at.create("No Name!")),
        ("create: no archive", lambda at: at.create("two", image="none.tar")),
        ("create: no pack", lambda at: at.create("two", pack="none.smolmachine")),
        ("create: a text for a pack", lambda at: at.create("two", pack="Dockerfile")),
        ("create: a Dockerfile", lambda at: at.create("two", image="Dockerfile")),
        ("create: too little memory", lambda at: at.create("two", memory=63)),
        (
            "create: no such mount",
            lambda at: at.say("machine", "create", "--name", "two", *volume),
        ),
        (
            "create: an unknown option",
            lambda at: at.say("machine", "create", "--name", "two", "--no-such-option"),
        ),
        ("an unknown verb", lambda at: at.say("machine", "no-such-verb")),
        ("start: no machine", lambda at: at.start("none")),
        ("stop: no machine", lambda at: at.smolvm.machine_stop("none")),
        ("stop: never started", lambda at: at.smolvm.machine_stop("one")),
        ("delete: no machine", lambda at: at.delete("none")),
        ("exec: no machine", lambda at: at.exec("true", name="none")),
        ("exec: not running", lambda at: at.exec("true")),
        ("cp: no machine", lambda at: at.copy("file", "none:/tmp/file")),
        ("cp: not running", lambda at: at.copy("file", "one:/tmp/file")),
        ("branch: no machine", lambda at: at.branch("none", "two")),
        ("branch: not running", lambda at: at.branch("one", "two")),
        ("pack: no machine", lambda at: at.pack("none", "none")),
        ("ls: created", lambda at: at.list()),
    ]


def of_images() -> list[Case]:
    """Cases of images that no machine starts from, or that one might have expected not to."""
    cases: list[Case] = []
    for what, name, how in (
        ("a registry that does not answer", "remote", {"image": "127.0.0.1:9/none:1"}),
        ("a text for an archive", "text", {"image": "text.tar"}),
        ("a truncated archive", "cut", {"image": "cut.tar"}),
        ("another architecture", "foreign", {"image": "foreign.tar"}),
        ("an empty directory", "empty", {"image": "empty"}),
        ("an archive of mode 0600", "private", {"image": "private.tar"}),
        ("little memory", "small", {"memory": 64}),
    ):
        cases += [
            (f"create: {what}", lambda at, name=name, how=how: at.create(name, **how)),
            (f"start: {what}", lambda at, name=name: at.start(name)),
            ("", lambda at, name=name: at.delete(name)),
        ]
    return cases


def with_a_guest() -> list[Case]:
    """Cases of a machine that runs; the first starts it."""
    timeout = ("--timeout", "2s", "--", "sleep", "60")
    return [
        ("start", lambda at: at.start("one", branchable=True)),
        ("start: twice", lambda at: at.start("one", branchable=True)),
        ("ls: running", lambda at: at.list()),
        ("exec", lambda at: at.shell("echo out; echo err >&2")),
        ("exec: the machine's environment", lambda at: at.shell("echo $KEY")),
        ("exec: nothing to say", lambda at: at.shell("true")),
        ("exec: bytes", lambda at: at.shell(r"printf '\000\377\200\r\n'")),
        ("exec: stdin", lambda at: at.shell("cat", input=b"a\xff\n")),
        ("exec: return code 3", lambda at: at.shell("exit 3")),
        ("exec: return code 1", lambda at: at.shell("exit 1")),
        ("exec: return code 1 and a line", lambda at: at.shell("echo Error: no >&2; exit 1")),
        ("exec: return code 255", lambda at: at.shell("exit 255")),
        ("exec: passes for the engine", lambda at: at.shell(f"echo '{HOSTILE}' >&2; exit 1")),
        (
            "exec: passes for the engine, then more",
            lambda at: at.shell(f"echo '{HOSTILE}' >&2; echo more >&2; exit 1"),
        ),
        ("exec: killed by a signal", lambda at: at.shell("kill -9 $$")),
        ("exec: timeout", lambda at: at.say("machine", "exec", "--name", "one", *timeout)),
        ("exec: no such command", lambda at: at.exec("no-such-command")),
        ("exec: not executable", lambda at: at.exec("/etc/passwd")),
        ("exec: no such user", lambda at: at.exec("id", user="no-such-user")),
        ("exec: a uid", lambda at: at.exec("id", user="12345:54321")),
        (
            "exec: no such directory",
            lambda at: at.say(
                *("machine", "exec", "--name", "one", "--workdir", "/none", "--", "pwd")
            ),
        ),
        (
            "exec: an unknown option",
            lambda at: at.say("machine", "exec", "--name", "one", "--none", "--", "true"),
        ),
        ("cp: in", lambda at: at.copy("file", "one:/tmp/new/file", mode=0o600)),
        ("cp: out", lambda at: at.copy("one:/tmp/new/file", "back")),
        ("cp: nothing there", lambda at: at.copy("one:/none", "none")),
        ("cp: nothing here", lambda at: at.copy("none", "one:/tmp/none")),
        ("cp: a directory", lambda at: at.copy("empty", "one:/tmp/empty")),
        ("pack: running", lambda at: at.pack("one", "running")),
        ("branch", lambda at: at.branch("one", "two", labels={"bottle.run": "4567"})),
        ("branch: the name is taken", lambda at: at.branch("one", "two")),
        ("ls: a branch", lambda at: at.list()),
        ("delete: it has branches", lambda at: at.delete("one")),
        ("stop: it has branches", lambda at: at.smolvm.machine_stop("one")),
        ("delete: with its branches", lambda at: at.delete("one", cascade=True)),
    ]


def of_packs() -> list[Case]:
    """Cases of a machine that is packed, and of one made from the pack."""
    return [
        ("", lambda at: at.create("plain")),
        ("start: not to be branched", lambda at: at.start("plain")),
        ("branch: not started to be branched", lambda at: at.branch("plain", "two")),
        ("exec: the machine is stopped meanwhile", stop_under_an_exec),
        ("stop: twice", lambda at: at.smolvm.machine_stop("plain")),
        ("ls: stopped", lambda at: at.list()),
        ("pack", lambda at: at.pack("plain", "packed")),
        ("delete: stopped", lambda at: at.delete("plain")),
        (
            "create: from a pack",
            lambda at: at.create(
                "unpacked", pack="packed.smolmachine", user="1000", env={"KEY": "a b"}
            ),
        ),
        ("create: from a truncated pack", create_from_half_a_pack),
        ("start: from a pack", lambda at: at.start("unpacked")),
        ("exec: from a pack", lambda at: at.shell("id -u; echo $KEY", name="unpacked")),
        ("delete: running", lambda at: at.delete("unpacked")),
    ]


def with_a_network() -> list[Case]:
    """Cases of a machine that may reach one address, one host and what is below another."""
    allowed = ["192.0.2.1/32"]
    names = ["docs.example.com", "*.example.org"]
    tsi = ("--net-backend", "tsi", "--allow-cidr", "192.0.2.1/32")
    attempts = "nc -w 5 192.0.2.2 80 </dev/null; nslookup example.com; true"
    return [
        ("egress-events: no machine", lambda at: at.smolvm.egress_events("none")),
        ("", lambda at: at.create("bare")),
        ("egress-events: no network", lambda at: at.smolvm.egress_events("bare")),
        (
            "create: with a network",
            lambda at: at.create("net", allow_cidrs=allowed, allow_names=names),
        ),
        (
            "create: with a network and no names",
            lambda at: at.create("nameless", allow_cidrs=allowed),
        ),
        (
            "create: a network that enforces nothing",
            lambda at: at.say("machine", "create", "--name", "tsi", *tsi),
        ),
        ("", lambda at: at.start("net")),
        ("egress-events: nothing yet", lambda at: at.smolvm.egress_events("net")),
        ("", lambda at: at.shell(attempts, name="net")),
        ("egress-events", lambda at: at.smolvm.egress_events("net")),
        ("", lambda at: at.delete("net")),
    ]


def stop_under_an_exec(at: Place) -> None:
    argv = at.smolvm.exec_argv("plain", ["sleep", "300"])
    running = process.start(argv, stdout=process.DEVNULL, stderr=process.DEVNULL)
    time.sleep(10)  # Nothing tells when it runs.
    at.smolvm.machine_stop("plain")
    running.wait(60)


def create_from_half_a_pack(at: Place) -> None:
    whole = (at.files / "packed.smolmachine").read_bytes()
    (at.files / "half.smolmachine").write_bytes(whole[: len(whole) // 2])
    at.create("half", pack="half.smolmachine")


def lay_out(image: Path, files: Path) -> None:
    """Make the files, good and bad, that the cases name."""
    shutil.copyfile(image, files / "image.tar")
    # The engine knows an archive again by its content: one that it has was readable once.
    write_changed(image, files / "private.tar", created="2001-02-03T04:05:06Z")
    (files / "private.tar").chmod(0o600)
    (files / "file").write_text("content\n")
    (files / "Dockerfile").write_text("FROM scratch\n")
    (files / "text.tar").write_text("no archive at all\n" * 100)
    (files / "cut.tar").write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    (files / "empty").mkdir()
    write_changed(image, files / "foreign.tar", architecture="s390x")


def write_changed(image: Path, target: Path, **changes: str) -> None:
    """Write an archive whose image says other things of itself."""
    with tarfile.open(image) as source, tarfile.open(target, "w") as changed:
        for member in source:
            data = source.extractfile(member)
            content = data.read() if data else b""
            if member.name.endswith(".json") and member.name != "manifest.json":
                content = json.dumps({**json.loads(content), **changes}).encode()
                member.size = len(content)
            changed.addfile(member, io.BytesIO(content))


def all_cases() -> list[Case]:
    return [*without_a_guest(), *of_images(), *with_a_guest(), *of_packs(), *with_a_network()]


def record(engine: Path, image: Path, cases: list[Case]) -> dict[str, Any]:
    """Run every case and return what was said."""
    directory = Path(tempfile.mkdtemp(prefix="capture-", dir="/tmp"))
    directory.chmod(0o755)
    log, files, shim = directory / "log", directory / "files", directory / "smolvm"
    files.mkdir()
    lay_out(image, files)
    shim.write_text(SHIM.format(python=sys.executable, engine=str(engine), log=str(log)))
    shim.chmod(0o755)
    at = Place(Smolvm(shim, directory / "state"), files)
    recorded: dict[str, list[Any]] = {}
    try:
        version = process.run([str(engine), "--version"], timeout=60).stdout.decode().strip()
        for title, call in cases:
            print(title or "-", file=sys.stderr, flush=True)
            log.write_text("")
            with suppress(SmolvmError):
                call(at)
            entries = [json.loads(line) for line in log.read_text().splitlines()]
            if title:
                entries.sort(key=lambda entry: entry["argv"])  # Two of them may run at once.
                recorded[title] = [normalised(entry, directory) for entry in entries]
    finally:
        for machine in at.smolvm.machine_ls():
            with suppress(SmolvmError):
                at.smolvm.machine_delete(machine.name, cascade=True)
        shutil.rmtree(directory, ignore_errors=True)
    return {"engine": version, "cases": recorded}


NOISE = (
    (re.compile(r"[^\n]*\r(?!\n)"), ""),  # all but the last frame of what moves on a terminal
    (re.compile(r"\(PID: \d+\)"), "(PID: 4242)"),
    (re.compile(r'("pid": ?)\d+'), r"\g<1>4242"),
    (re.compile(r'("\w+_at(?:_\w+)?": ?)\d+'), r"\g<1>1700000000"),
    (re.compile(r"20\d\d-\d\d-\d\dT[\d:.]+Z"), "2030-01-02T03:04:05Z"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "0" * 64),
    (re.compile(r"image-seed-[0-9a-f]+-\d+"), "image-seed-0000-4242"),
    (re.compile(r"\b\d+ms\b"), "2000ms"),
    (re.compile(r"\b[\d.]+ ?([kKM]?i?B/s)"), r"1 \1"),
    (re.compile(r"\b\d+KB\b"), "1KB"),
)
"""What differs from run to run, and what stands for it."""


def normalised(entry: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Return an entry without what differs from run to run."""

    def plain(text: str) -> str:
        text = text.replace(str(directory), "/capture")
        for pattern, replacement in NOISE:
            text = pattern.sub(replacement, text)
        return text

    return {
        **entry,
        "argv": [word.replace(str(directory), "/capture") for word in entry["argv"]],
        "stdout": plain(entry["stdout"]),
        "stderr": plain(entry["stderr"]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("image", type=Path, metavar="IMAGE.tar")
    parser.add_argument("--check", action="store_true", help="compare with the recording")
    parser.add_argument("--output", type=Path, default=RECORDING, metavar="FILE")
    arguments = parser.parse_args()
    if sys.platform != "linux" or os.geteuid() != 0:
        parser.error("the recording is made on Linux, by root.")
    seen = json.dumps(record(current_engine().path, arguments.image, all_cases()), indent=1) + "\n"
    if not arguments.check:
        arguments.output.write_text(seen)
        return 0
    before = arguments.output.read_text().splitlines()
    changes = "\n".join(
        difflib.unified_diff(before, seen.splitlines(), "recorded", "seen", lineterm="", n=4)
    )
    print(changes or "This engine answers as the recorded one did.")
    return 1 if changes else 0


if __name__ == "__main__":
    sys.exit(main())
