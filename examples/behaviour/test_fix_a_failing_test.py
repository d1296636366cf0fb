"""A task of several turns: the agent really edits the file, and really runs the tests.

Only the model is scripted. Claude Code reads, edits and runs in the bottle; what the test asserts
on is what it left behind.
"""

import pytest

from pytest_bottle import contains
from pytest_bottle import say
from pytest_bottle import tool

RUN_TESTS = "python3 -m pytest -q test_calc.py"


@pytest.fixture
def project(bottle):
    """Skip where the bottle's image has no pytest for the agent to run."""
    if not bottle.exec(["python3", "-m", "pytest", "--version"]).success:
        pytest.skip("there is no pytest in the bottle: install it for the system's python3")
    return bottle


@pytest.mark.bottle_requires("claude")
@pytest.mark.bottle(agent="developer")
def test_the_developer_makes_the_test_pass(project):
    project.model.script(
        tool("Bash", command=RUN_TESTS),
        tool("Read", file_path="/workspace/calc.py"),
        tool(
            "Edit",
            file_path="/workspace/calc.py",
            old_string="(len(numbers) + 1)",
            new_string="len(numbers)",
        ),
        tool("Bash", command=RUN_TESTS),
        say("mean() divided by one too many."),
    )

    run = project.run_agent("Make the tests pass.").check()

    assert run.tools_called == ["Bash", "Read", "Edit", "Bash"]
    assert run.called("Bash", command=contains("pytest")).count == 2
    first, last = (call for call in run.tool_calls if call.name == "Bash")
    assert "1 failed" in first.output
    assert "1 passed" in last.output
    assert project.touched("calc.py")
    assert project.untouched("test_calc.py")
