"""A bare repository of the gate's own: how it is made, its refs, and git commands in it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.errors import DoorError
from pytest_bottle.gateway.git.environment import GIT
from pytest_bottle.gateway.git.environment import plain_environment
from pytest_bottle.gateway.git.programs import run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_bottle.process import Completed

MAX_PACK: Final = 2 * 2**30
"""Bytes of one push."""

ASK_VARIABLE: Final = "BOTTLE_HOOK_ASKS"
ANSWER_VARIABLE: Final = "BOTTLE_HOOK_ANSWERS"
"""The numbers of the descriptors by which a push's hook asks the gate, and is answered."""

END_OF_QUESTION: Final = "."

LOCAL_TIMEOUT: Final = 120.0
"""Seconds for a command that reaches nobody else."""

_CONFIG: Final = """\
[core]
	repositoryformatversion = 0
	filemode = true
	bare = true
	hooksPath = {hooks}
	logAllRefUpdates = false
[http]
	getanyfile = false
	uploadpack = true
	receivepack = true
[uploadpack]
	allowFilter = true
	hideRefs = refs/replace
[transfer]
	unpackLimit = 1
[receive]
	fsckObjects = true
	maxInputSize = {limit}
	denyDeletes = true
	denyNonFastForwards = true
	denyCurrentBranch = ignore
	advertisePushOptions = false
	shallowUpdate = false
[receive "fsck"]
	; Old histories have them, and they harm nobody.
	badTimezone = warn
	missingSpaceBeforeDate = warn
	zeroPaddedFilemode = warn
[gc]
	auto = 0
"""

# In a shell, which starts at once. Both descriptors were opened by the gate and inherited: nobody
# else can ask, or answer. Git sends to the client what is written to standard error.
_HOOK: Final = f"""\
#!/bin/sh
{{
	printf '%s\\n' "$GIT_OBJECT_DIRECTORY" "$GIT_ALTERNATE_OBJECT_DIRECTORIES"
	cat
	printf '%s\\n' '{END_OF_QUESTION}'
}} > "/dev/fd/${ASK_VARIABLE}" || exit 1
while IFS= read -r line; do
	case "$line" in
	yes) exit 0 ;;
	no) exit 1 ;;
	*) printf '%s\\n' "${{line# }}" >&2 ;;
	esac
done < "/dev/fd/${ANSWER_VARIABLE}"
exit 1
"""


class Repository:
    """A bare repository that nobody but the gate configures."""

    def __init__(self, path: Path) -> None:
        """Name the directory; `make` makes it."""
        self.path: Final = path

    def make(self, borrow_from: Path | None = None) -> None:
        """Make it, empty.

        Args:
            borrow_from: A repository whose objects it has as well, as long as that keeps them.

        Raises:
            OSError: it could not be written.
        """
        hooks = self.path / "gate-hooks"
        for directory in (hooks, self.path / "objects" / "info", self.path / "refs" / "heads"):
            directory.mkdir(parents=True, mode=0o700)
        (self.path / "HEAD").write_text("ref: refs/heads/main\n")
        config = _CONFIG.format(hooks=_quoted(str(hooks)), limit=MAX_PACK)
        (self.path / "config").write_text(config)
        hook = hooks / "pre-receive"
        hook.write_text(_HOOK)
        hook.chmod(0o700)
        if borrow_from is not None:
            alternates = self.path / "objects" / "info" / "alternates"
            alternates.write_text(f"{_quoted(str(borrow_from / 'objects'))}\n")

    async def git(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        input: bytes = b"",  # noqa: A002 - as `process.run`
        timeout: float = LOCAL_TIMEOUT,  # noqa: ASYNC109 - it is the program's
    ) -> Completed:
        """Run a git command in it; a failure is a result.

        Args:
            arguments: The command and its arguments.
            env: The whole environment; None is that of a git that reaches nobody else.
            input: What it reads.
            timeout: Seconds.

        Raises:
            DoorError: it could not be started, or did not end in time.
        """
        argv = [GIT, f"--git-dir={self.path}", *arguments]
        env = plain_environment() if env is None else env
        try:
            return await run(argv, env=env, cwd=self.path, input=input, timeout=timeout)
        except TimeoutError:
            raise DoorError(f"waited {timeout:g} s for git {arguments[0]} in vain") from None
        except OSError as error:
            raise DoorError(f"cannot run git {arguments[0]}: {error}") from error

    async def must(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        input: bytes = b"",  # noqa: A002 - as `process.run`
    ) -> bytes:
        """Run a git command in it, and return its output.

        Raises:
            DoorError: it failed.
        """
        done = await self.git(*arguments, env=env, input=input)
        if done.returncode != 0:
            words = done.stderr.decode(errors="replace").strip()[-500:]
            raise DoorError(f"failed to run git {arguments[0]}: {words}")
        return done.stdout

    async def refs(self) -> dict[str, str]:
        """Return all its refs, with the objects that they name.

        Raises:
            DoorError: git failed.
        """
        listed = await self.must("for-each-ref", "--format=%(objectname) %(refname)")
        pairs = (line.partition(" ") for line in _lines(listed))
        return {ref: name for name, _, ref in pairs}

    async def head(self) -> str:
        """Return the ref that its HEAD stands for.

        Raises:
            DoorError: git failed.
        """
        return (await self.must("symbolic-ref", "HEAD")).decode(errors="surrogateescape").strip()

    async def set_head(self, ref: str) -> None:
        """Have its HEAD stand for a ref.

        Raises:
            DoorError: git failed.
        """
        await self.must("symbolic-ref", "HEAD", ref)

    async def set_refs(self, wanted: Mapping[str, str]) -> None:
        """Have these refs, and no others; their objects are there.

        Raises:
            DoorError: git failed.
        """
        present = await self.refs()
        # On their own: `a` may make room for `a/b`.
        gone = [f"delete {ref}\n" for ref in present if ref not in wanted]
        new = [f"update {ref} {to}\n" for ref, to in wanted.items() if present.get(ref) != to]
        for commands in (gone, new):
            if commands:
                text = "".join(commands).encode(errors="surrogateescape")
                await self.must("update-ref", "--stdin", input=text)


def refs_to_mirror(listed: bytes) -> tuple[str, dict[str, str]]:
    """Return what an `ls-remote --symref` says: the ref of HEAD, and all refs that are mirrored."""
    head, refs = "", {}
    for line in _lines(listed):
        value, _, name = line.partition("\t")
        if name == "HEAD" and value.startswith("ref: "):
            head = value.removeprefix("ref: ")
        elif name.startswith(MIRRORED) and not name.endswith("^{}"):
            refs[name] = value
    return head, refs


MIRRORED: Final = ("refs/heads/", "refs/tags/", "refs/notes/")
"""Which refs of an upstream a bottle sees. Not those of pull requests: there may be many."""


def refspecs() -> Sequence[str]:
    """Return what fetches the mirrored refs."""
    return [f"+{prefix}*:{prefix}*" for prefix in MIRRORED]


def _lines(output: bytes) -> list[str]:
    return output.decode(errors="surrogateescape").split("\n")[:-1]


def _quoted(value: str) -> str:
    """Return a path as git's configuration, and its list of alternates, quote it."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
