"""The bottle that is checked, and what its backend declares about itself."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING
from typing import Any
from typing import ClassVar
from typing import Protocol

import pytest

if TYPE_CHECKING:
    from pytest_bottle.bottle import Bottle

HOST_CANARY = "BOTTLE_CONFORMANCE_CANARY"
"""A variable of the host's environment while a subject is launched: no guest may see it."""

_numbers = itertools.count()


class Launch(Protocol):
    """Launches one more bottle on the backend; the keywords are the marker's overrides."""

    def __call__(self, **overrides: Any) -> Bottle:  # noqa: ANN401 -- of many types
        """Return it; it ends with the test."""
        ...


class Subject:
    """Base of all checks.

    A flag is checked both ways: what a backend declares not to do must fail as documented. A class
    that names its backend is marked with it: its checks are skipped, with the reason, where the
    backend does not open, fail where `--bottle-require` names it, and run once in a matrix.
    """

    pytestmark: ClassVar[list[pytest.MarkDecorator]] = []

    backend: ClassVar[str]
    """The backend's name."""

    other_users: ClassVar[bool] = False
    """Whether commands can run as any user of the guest; else `UserUnsupportedError`."""

    permissions_apply: ClassVar[bool] = True
    """Whether file permissions bind the guest's user. Not so for a root that keeps its powers."""

    private_files: ClassVar[bool] = True
    """Whether a guest path can never mean a file of the host."""

    private_processes: ClassVar[bool] = True
    """Whether the guest can signal none but its own processes."""

    own_network: ClassVar[bool] = True
    """Whether the guest's ports are its own, so that it gets the door at the port asked for."""

    carried: ClassVar[bool] = False
    """Whether what connects to a door is carried to this host, and so accepted before it is known
    whether anybody is there."""

    branches: ClassVar[bool] = True
    """Whether a bottle can start from another one's state; else `BranchUnsupportedError`."""

    branches_processes: ClassVar[bool] = False
    """Whether it then also has the processes that run there."""

    python: ClassVar[str] = "python3"
    """The guest's Python, for what needs sockets and system calls."""

    new_session: ClassVar[str] = "setsid"
    """The guest's command that starts another one in a session of its own."""

    promptness: ClassVar[float] = 1.0
    """Seconds after its timeout within which a command must have been killed and reported."""

    patience: ClassVar[float] = 1.0
    """How many times longer than usual an attempt at the wall or the door, or a large transfer, may
    take, as where the processor is emulated."""

    large_input: ClassVar[int] = 50 * 2**20
    """Bytes that a command reads and writes at once. Less only where what emulates the processor
    does not survive them."""

    def __init_subclass__(cls, **keywords: Any) -> None:  # noqa: ANN401 -- of other bases
        """Mark a class that names its backend."""
        super().__init_subclass__(**keywords)
        if "backend" in vars(cls):
            own = vars(cls).get("pytestmark", [])
            marks = own if isinstance(own, list) else [own]
            cls.pytestmark = [*marks, pytest.mark.bottle(backend=cls.backend)]

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, bottle_factory: Any) -> Bottle:  # noqa: ANN401 -- of the plugin
        """Launch the bottle that most checks share."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(HOST_CANARY, "seen")
            bottle: Bottle = bottle_factory(backend=cls.backend)
        return bottle

    @pytest.fixture
    def launch(self, bottle_factory: Any) -> Launch:  # noqa: ANN401 -- of the plugin
        """Return a function that launches a further bottle."""

        def one_more(**overrides: Any) -> Bottle:  # noqa: ANN401 -- of many types
            bottle: Bottle = bottle_factory(backend=self.backend, **overrides)
            return bottle

        return one_more

    @pytest.fixture
    def place(self, subject: Bottle) -> str:
        """Make a directory for one check; return its absolute path."""
        path = f"{subject.workdir}/check-{next(_numbers)}"
        subject.exec(["mkdir", path]).check()
        return path
