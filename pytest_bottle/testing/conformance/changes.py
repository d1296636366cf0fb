"""Checks of what the handle tells about changes in the workdir."""
# ruff: noqa: S101 -- checks assert

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bottle.testing.conformance.subject import Subject

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_bottle.testing.conformance.subject import Launch


class ChangeChecks(Subject):
    """`diff` compares the workdir with what it was when the bottle was provisioned."""

    def test_a_fresh_bottle_has_no_changes(self, launch: Launch, tmp_path: Path) -> None:
        """The files that it was given are no change."""
        (tmp_path / "given").write_text("by the test")
        bottle = launch(files={"given": tmp_path / "given"})
        assert bottle.listdir() == ["given"]
        assert not bottle.diff()
        assert bottle.diff().text == ""

    def test_every_kind_of_change_is_told(self, launch: Launch, tmp_path: Path) -> None:
        """Added, modified, deleted, with paths below the workdir."""
        given = tmp_path / "given"
        (given / "below").mkdir(parents=True)
        for name in ("changed", "gone", "same", "below/mode"):
            (given / name).write_text(f"{name}\n")
        bottle = launch(files={"src": given})
        bottle.sh(
            "echo more >> changed; rm gone; chmod 755 below/mode; mkdir 'a dir' empty;"
            "echo new > 'a dir/a file'; ln -s same link; touch same",
            cwd="src",
        ).check()
        diff = bottle.diff()
        assert diff.added == ("src/a dir/a file", "src/empty/", "src/link")
        assert diff.modified == ("src/below/mode", "src/changed")
        assert diff.deleted == ("src/gone",)
        kinds = {change.path: change.kind for change in diff}
        assert kinds["src/gone"] == "deleted"
        assert "+more" in diff.text
        assert "-gone" in diff.text

    def test_an_emptied_workdir_is_told(self, launch: Launch, tmp_path: Path) -> None:
        """All that was there is deleted."""
        (tmp_path / "given").write_text("x")
        bottle = launch(files={"given": tmp_path / "given"})
        bottle.sh("rm given").check()
        assert bottle.diff().deleted == ("given",)

    def test_changes_outside_of_the_workdir_are_not_told(self, launch: Launch) -> None:
        """The home and /tmp are not the workspace."""
        bottle = launch()
        bottle.sh("touch ~/at-home").check()
        assert bottle.exists(f"{bottle.home}/at-home")
        assert not bottle.diff()
