"""Checks of what surrounds a command: variables, directory, user."""
# ruff: noqa: S101 -- checks assert

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_bottle.errors import UserUnsupportedError
from pytest_bottle.testing.conformance.subject import HOST_CANARY
from pytest_bottle.testing.conformance.subject import Subject

if TYPE_CHECKING:
    from pytest_bottle.bottle import Bottle
    from pytest_bottle.testing.conformance.subject import Launch


class EnvironmentChecks(Subject):
    """A command has the bottle's environment, what was added to it, and nothing of the host's."""

    def test_variables_are_added(self, subject: Bottle) -> None:
        """With any value; for the one command only."""
        texts = ["a  b", "ünïcode 🚀", "$HOME `id` 'x' \"y\" \\", "1\n2", "", "x=y=z"]
        values = dict(zip("ABCDEF", texts, strict=True))
        for name, value in values.items():
            result = subject.exec(["sh", "-c", f'printf %s "${name}"'], env=values)
            assert result.stdout == value
        assert subject.sh('echo "${A-unset}"').stdout == "unset\n"

    def test_the_hosts_variables_are_not_there(self, subject: Bottle) -> None:
        """Neither the one that was planted, nor pytest's own."""
        names = {line.partition("=")[0] for line in subject.exec(["env"]).stdout.splitlines()}
        assert "PATH" in names
        assert not names & {HOST_CANARY, "PYTEST_CURRENT_TEST", "PYTEST_VERSION"}

    def test_the_usual_variables_are_there(self, subject: Bottle) -> None:
        """HOME is the handle's; PATH finds the tools."""
        result = subject.sh('printf "%s" "$HOME"; command -v tar >/dev/null && [ -d "$HOME" ]')
        assert (result.returncode, result.stdout) == (0, subject.home)

    def test_a_variable_is_overridden(self, subject: Bottle) -> None:
        """One of the bottle's own, too."""
        assert subject.sh('echo "$HOME"', env={"HOME": "/elsewhere"}).stdout == "/elsewhere\n"

    def test_the_command_is_looked_up_in_the_path_that_was_given(
        self, subject: Bottle, place: str
    ) -> None:
        """In the guest, by the command's own PATH."""
        subject.write_file(f"{place}/conformance-tool", "#!/bin/sh\necho found\n", mode=0o755)
        assert subject.exec(["conformance-tool"]).returncode == 127  # noqa: PLR2004
        path = f"{place}:/usr/bin:/bin"
        assert subject.exec(["conformance-tool"], env={"PATH": path}).stdout == "found\n"

    def test_the_bottles_own_variables_are_there(self, launch: Launch) -> None:
        """Those of the manifest or the marker, for every command."""
        bottle = launch(env={"CONFORMANCE": "of the plan"})
        assert bottle.sh('echo "$CONFORMANCE"').stdout == "of the plan\n"
        assert bottle.sh('echo "$CONFORMANCE"', env={"CONFORMANCE": "own"}).stdout == "own\n"

    def test_the_workdir_is_the_default_directory(self, subject: Bottle) -> None:
        """And the guest's user may write there."""
        assert subject.sh("pwd").stdout == f"{subject.workdir}\n"
        assert subject.sh("test -w . && test -w ~").success

    def test_a_relative_directory_is_below_the_workdir(self, subject: Bottle, place: str) -> None:
        """With `..` in it, too."""
        name = place.rpartition("/")[2]
        subject.sh("mkdir -p a/b", cwd=place).check()
        assert subject.sh("pwd", cwd=f"{name}/a").stdout == f"{place}/a\n"
        assert subject.sh("pwd -P", cwd=f"{name}/a/b/..").stdout == f"{place}/a\n"

    def test_an_absolute_directory(self, subject: Bottle) -> None:
        """Anywhere in the guest."""
        assert subject.exec(["pwd"], cwd="/usr/bin").stdout == "/usr/bin\n"

    def test_a_directory_with_an_awkward_name(self, subject: Bottle, place: str) -> None:
        """No shell reads it."""
        directory = f"{place}/-a 'b' $HOME\n*"
        subject.exec(["mkdir", "--", directory]).check()
        assert subject.exec(["pwd"], cwd=directory).stdout == f"{directory}\n"

    def test_a_directory_that_is_not_there(self, subject: Bottle, place: str) -> None:
        """FileNotFoundError with its name: the command did not run."""
        with pytest.raises(FileNotFoundError, match="missing"):
            subject.exec(["touch", f"{place}/ran"], cwd=f"{place}/missing")
        assert not subject.exists(f"{place}/ran")

    def test_a_directory_that_is_a_file(self, subject: Bottle, place: str) -> None:
        """NotADirectoryError."""
        subject.write_file(f"{place}/file", "x")
        with pytest.raises(NotADirectoryError):
            subject.exec(["true"], cwd=f"{place}/file")

    def test_a_directory_without_permission(self, subject: Bottle, place: str) -> None:
        """PermissionError, where permissions bind the guest's user."""
        subject.sh("mkdir -m 0 locked", cwd=place).check()
        if not self.permissions_apply:
            assert subject.exec(["true"], cwd=f"{place}/locked").success
            return
        with pytest.raises(PermissionError):
            subject.exec(["true"], cwd=f"{place}/locked")

    def test_new_files_are_readable_by_all(self, subject: Bottle) -> None:
        """The umask is 022, whatever the host's is."""
        assert subject.sh("umask").stdout.strip().endswith("022")

    def test_the_handle_names_the_user(self, subject: Bottle) -> None:
        """And commands run as that one."""
        assert subject.exec(["id", "-un"]).stdout == f"{subject.user}\n"

    def test_the_own_user_may_be_named(self, subject: Bottle) -> None:
        """By name and by uid."""
        uid = subject.exec(["id", "-u"]).stdout.strip()
        for user in (subject.user, uid):
            assert subject.exec(["id", "-u"], user=user).stdout == f"{uid}\n"

    def test_another_user(self, subject: Bottle) -> None:
        """Runs the command, or is refused by UserUnsupportedError."""
        accounts = [line.split(":") for line in subject.read_file("/etc/passwd").splitlines()]
        other = next(
            account[0]
            for account in accounts
            if len(account) > 2 and account[0] != subject.user  # noqa: PLR2004
        )
        if self.other_users:
            assert subject.exec(["id", "-un"], user=other).stdout == f"{other}\n"
            return
        with pytest.raises(UserUnsupportedError, match=other):
            subject.exec(["id", "-un"], user=other)

    def test_a_user_that_is_not_there(self, subject: Bottle, place: str) -> None:
        """UserUnsupportedError with the name: the command did not run as anybody."""
        with pytest.raises(UserUnsupportedError, match="nobody-of-this-name"):
            subject.exec(["touch", f"{place}/ran"], user="nobody-of-this-name")
        assert not subject.exists(f"{place}/ran")
