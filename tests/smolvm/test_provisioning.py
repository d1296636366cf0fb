"""What provisioning puts into a microVM."""

from __future__ import annotations

from pytest_bottle.plan import PROMPT_FILE_NAME


def test_the_prompt_is_in_the_guests_home(reviewer):
    path = f"{reviewer.home}/{PROMPT_FILE_NAME}"
    assert reviewer.read_file(path) == "You review code for security. Be terse."
    assert reviewer.sh(f"stat -c %U {path}").stdout == f"{reviewer.user}\n"


def test_on_the_host_it_is_its_owners_alone(reviewer):
    assert reviewer.plan.prompt_file.stat().st_mode & 0o777 == 0o600


def test_a_root_image_has_its_home_in_root(reviewer):
    assert (reviewer.user, reviewer.home) == ("root", "/root")


def test_the_prompt_is_threaded_into_the_agents_command(reviewer):
    """The CLI is not in this image; what it would have been given is what counts."""
    answer = "#!/bin/sh\nprintf '%s\\n' \"$@\"\n"
    reviewer.write_file("/usr/local/bin/claude", answer, mode=0o755)
    try:
        said = reviewer.exec_claude(["--version"]).check().stdout.splitlines()
    finally:
        reviewer.exec(["rm", "/usr/local/bin/claude"])
    assert said == ["--append-system-prompt-file", f"/root/{PROMPT_FILE_NAME}", "--version"]


def test_skills_are_where_the_agent_looks(reviewer):
    assert sorted(reviewer.listdir(f"{reviewer.home}/.claude/skills")) == ["changelog", "sql-audit"]
    text = reviewer.read_file(f"{reviewer.home}/.claude/skills/sql-audit/SKILL.md")
    assert text.endswith("Look for string concatenation.\n")


def test_the_workdir_is_the_users(reviewer):
    assert reviewer.sh("pwd; stat -c %U .").stdout == "/workspace\nroot\n"
    assert not reviewer.diff()
