"""`--bottle-model`: scripted, recorded, replayed and real answers, through the whole plugin."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING
from typing import TypeAlias
from urllib.parse import quote

import pytest

from pytest_bottle.gateway.egress.environment import environment_directory
from tests.plugin.api import ANSWER
from tests.plugin.api import KEY
from tests.plugin.api import events
from tests.plugin.api import model_api
from tests.plugin.conftest import CALLING_AGENT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.plugin.api import Api

    Ask: TypeAlias = Callable[..., pytest.RunResult]

pytestmark = [
    pytest.mark.bottle_requires("bubblewrap"),
    pytest.mark.usefixtures("calling_agent"),
]

ASKING = """
    import pytest

    @pytest.mark.bottle(agent="caller")
    def test_it(bottle, pytestconfig):
        run = bottle.run_agent({task!r}).check()
        (pytestconfig.rootpath / "heard").write_bytes(bottle.read_file("heard", text=False))
        print("the agent said", run.text)
"""


@pytest.fixture
def ask(pytester: pytest.Pytester, run: Callable[..., pytest.RunResult]) -> Ask:
    """Run an inner suite whose agent is given a task: `ask("What is it?", "record")`."""

    def ask(task: str, mode: str, *options: str) -> pytest.RunResult:
        (pytester.path / "heard").unlink(missing_ok=True)
        pytester.makepyfile(test_asking=ASKING.format(task=task))
        return run(f"--bottle-model={mode}", *options)

    return ask


@pytest.fixture
def api(monkeypatch):
    """A real API, as the run's environment has it."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with model_api() as api:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", api.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        yield api


def cassette(pytester: pytest.Pytester) -> Path:
    return pytester.path / "cassettes" / "test_asking" / "test_it.json"


def tasks(api: Api) -> list[str]:
    """What it was asked."""
    return [body["messages"][0]["content"] for body in api.bodies]


class TestRecordAndReplay:
    def test_what_was_recorded_is_replayed_byte_by_byte(self, pytester, api, ask):
        """To the agent, when the API is gone."""
        ask("What is it?", "record").assert_outcomes(passed=1)
        recorded = (pytester.path / "heard").read_bytes()
        assert recorded == events(ANSWER)
        api.stop()

        ask("What is it?", "replay").assert_outcomes(passed=1)

        assert (pytester.path / "heard").read_bytes() == recorded
        assert tasks(api) == ["What is it?"]

    def test_replay_needs_neither_key_nor_address(self, api, ask, monkeypatch):
        ask("What is it?", "record").assert_outcomes(passed=1)
        api.stop()
        monkeypatch.delenv("ANTHROPIC_API_KEY")
        monkeypatch.delenv("ANTHROPIC_BASE_URL")
        ask("What is it?", "replay").assert_outcomes(passed=1)

    def test_the_real_key_is_put_on_outside(self, api, ask):
        """In place of the agent's own."""
        ask("What is it?", "record").assert_outcomes(passed=1)
        (headers,) = api.headers
        assert headers["x-api-key"] == KEY
        assert "bottle-" not in str(headers)

    def test_another_task_is_a_miss_with_the_difference(self, api, ask):
        ask("What is it?", "record").assert_outcomes(passed=1)
        api.stop()

        result = ask("What was it?", "replay")

        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*UnexpectedRequestError*"])
        result.stdout.re_match_lines([r"E +- .*What is it\?", r"E +\+ .*What was it\?"])

    @pytest.mark.usefixtures("api")
    def test_an_answer_is_replayed_once(self, ask):
        """A request that was made once more is a miss, not the old answer again."""
        ask("Next?", "record").assert_outcomes(passed=1)
        result = ask("Next?\nNext?", "replay")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*UnexpectedRequestError*"])

    def test_a_test_without_a_cassette_says_how_to_get_one(self, pytester, ask):
        result = ask("What is it?", "replay")
        assert result.parseoutcomes().keys() & {"failed", "errors"}
        words = f"*{cassette(pytester)}: nothing has been recorded*--bottle-model=record*"
        result.stdout.fnmatch_lines([words])

    @pytest.mark.usefixtures("api")
    def test_recording_again_begins_anew(self, pytester, ask):
        ask("What is it?", "record").assert_outcomes(passed=1)
        ask("What was it?", "record").assert_outcomes(passed=1)
        text = cassette(pytester).read_text()
        assert "What was it?" in text
        assert "What is it?" not in text

    def test_tests_have_cassettes_of_their_own(self, pytester, api, run):
        pytester.makepyfile(
            """
            import pytest

            @pytest.mark.bottle(agent="caller")
            @pytest.mark.parametrize("number", [1, 2])
            def test_it(bottle, number):
                bottle.run_agent(f"Number {number}?").check()
            """
        )
        run("--bottle-model=record").assert_outcomes(passed=2)
        files = sorted((pytester.path / "cassettes").rglob("*.json"))
        assert [path.name for path in files] == ["test_it[1].json", "test_it[2].json"]
        api.stop()
        run("--bottle-model=replay", "-n2").assert_outcomes(passed=2)

    @pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "workers"])
    def test_what_is_no_longer_asked_is_told(self, api, ask, workers):
        """The test passes, and its cassette is not what it was recorded for."""
        ask("One?\nTwo?", "record").assert_outcomes(passed=1)
        api.stop()

        result = ask("One?", "replay", *workers)

        result.assert_outcomes(passed=1)
        line = "bottle: drift: *test_it.json: 1 of 2 recorded answers were not asked for*"
        result.stdout.fnmatch_lines([line])

    def test_a_cassette_that_fits_is_not_spoken_of(self, api, ask):
        ask("One?\nTwo?", "record").assert_outcomes(passed=1)
        api.stop()
        ask("One?\nTwo?", "replay").stdout.no_fnmatch_line("*drift*")


class TestNewEpisodes:
    def test_only_what_is_missing_is_asked_and_added(self, pytester, api, ask):
        ask("One?", "record").assert_outcomes(passed=1)

        ask("One?\nTwo?", "new-episodes").assert_outcomes(passed=1)

        assert tasks(api) == ["One?", "Two?"]
        api.stop()
        ask("One?\nTwo?", "replay").assert_outcomes(passed=1)
        assert (pytester.path / "heard").read_bytes() == events(ANSWER) * 2


class TestWithoutCassettes:
    @pytest.mark.usefixtures("api")
    def test_live_answers_are_the_real_ones_and_are_not_kept(self, pytester, ask):
        ask("What is it?", "live").assert_outcomes(passed=1)
        assert (pytester.path / "heard").read_bytes() == events(ANSWER)
        assert not (pytester.path / "cassettes").exists()

    def test_nothing_is_asked_where_nobody_chose_a_mode(self, pytester, api, run):
        """Whatever keys and addresses the environment has."""
        pytester.makepyfile(test_asking=ASKING.format(task="What is it?"))
        run().assert_outcomes(failed=1)
        assert api.bodies == []

    @pytest.mark.parametrize("mode", ["record", "live"])
    def test_an_api_that_cannot_be_reached_is_an_infra_error(self, pytester, api, ask, mode):
        """Neither the test nor the agent is to blame, and nothing is recorded."""
        api.stop()
        result = ask("What is it?", mode)
        result.stdout.fnmatch_lines(["*InfraError: 127.0.0.1 cannot be reached: *"])
        result.stdout.fnmatch_lines(["*= 1 infra error in *"])
        assert not cassette(pytester).exists()

    @pytest.mark.parametrize("mode", ["record", "new-episodes", "live"])
    def test_a_missing_key_is_named(self, ask, monkeypatch, mode):
        monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
        result = ask("What is it?", mode)
        assert result.parseoutcomes().keys() & {"failed", "errors"}
        result.stdout.fnmatch_lines(["*ANTHROPIC_API_KEY*"])

    def test_a_request_that_the_test_did_not_notice_fails_it(self, pytester, run):
        """Whoever made it in the bottle."""
        pytester.makepyfile(
            """
            import pytest
            from pytest_bottle import say

            @pytest.mark.bottle(agent="caller")
            def test_it(bottle):
                bottle.model.script(say("Hello."))
                env = {"MODEL_URL": bottle.model.url, "MODEL_TOKEN": bottle.model.token}
                bottle.exec(["python3", "calling_agent.py", "Hello?"], env=env).check()
                bottle.model.script()
                bottle.exec(["python3", "calling_agent.py", "Who is there?"], env=env)
            """
        )
        result = run()
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(
            ["the agent asked for turn 1 of the script, *", "*Who is there?*"]
        )


def test_a_bottle_of_all_workers_has_no_model(pytester, run):
    """One test's script would answer the others' agents."""
    pytester.makepyfile(ASKING.format(task="What is it?"))
    result = run("--bottle-scope=run")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*scope='run' shares a bottle*Take scope='session'*"])


LOOKING = """
    import os
    import subprocess
    from pathlib import Path

    import pytest

    EVERYWHERE = (
        "find / ( -path /proc -o -path /sys -o -path /usr -o -path /dev ) -prune "
        "-o -type f -size -1000k -exec cat {{}} +"
    )

    @pytest.mark.bottle(agent="caller", backend={backend!r})
    def test_it(bottle, tmp_path):
        outside = Path(os.environ["OUTSIDE"])
        run = bottle.run_agent("What is it?").check()
        environments = bottle.sh("cat /proc/[0-9]*/environ", output_limit=1 << 24)
        files = bottle.exec(EVERYWHERE.split(), output_limit=1 << 28)
        (outside / "guest").write_bytes(environments.stdout_bytes + files.stdout_bytes)
        (outside / "token").write_text(bottle.model.token)
        if bottle.backend == "docker":
            inspect = subprocess.run(["docker", "inspect", bottle.name], capture_output=True)
            assert inspect.returncode == 0
            (outside / "inspect").write_bytes(inspect.stdout)
        state = Path(os.environ["BOTTLE_STATE_DIR"])
        held = [path.read_bytes() for path in state.rglob("*") if path.is_file()]
        (outside / "state").write_bytes(b"".join(held))
        assert run.text == "something else", bottle.model.exchanges
"""


class TestSecrets:
    """The real key is outside, the agent's own is worth nothing, and neither is written down."""

    @pytest.mark.parametrize(
        "backend",
        [
            "bubblewrap",
            pytest.param("docker", marks=pytest.mark.bottle_requires("docker", "agent-image")),
        ],
    )
    @pytest.mark.parametrize("mode", ["record", "live"])
    def test_they_are_nowhere(self, pytester, api, run, tmp_path, monkeypatch, backend, mode):
        outside = tmp_path / "outside"
        outside.mkdir()
        monkeypatch.setenv("OUTSIDE", str(outside))
        image = '\nimage = "pytest-bottle-agent"' if backend == "docker" else ""
        manifest = CALLING_AGENT.replace('backend = "bubblewrap"', f'backend = "{backend}"{image}')
        (pytester.path / "bottle.toml").write_text(manifest)
        pytester.makepyfile(LOOKING.format(backend=backend))

        result = run(
            *(f"--bottle-model={mode}", "-vv", "-rA", "--showlocals", "--junitxml=junit.xml"),
            *("--bottle-artifacts=evidence", "--bottle-transcripts=all"),
        )

        result.assert_outcomes(failed=1)
        assert [headers["x-api-key"] for headers in api.headers] == [KEY]
        token = (outside / "token").read_text()
        places = {path.name: path.read_bytes() for path in outside.iterdir()}
        assert places.pop("token")
        places |= {
            str(path.relative_to(pytester.path)): path.read_bytes()
            for path in pytester.path.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        places["output"] = ("\n".join(result.outlines + result.errlines)).encode()
        assert {"guest", "state", "output", "junit.xml"} <= places.keys()
        assert {"inspect"} <= places.keys() or backend != "docker"
        names = " ".join(places)
        for kind in ("model.jsonl", "agent-1.out", "commands.jsonl", "transcript.html"):
            assert kind in names
        assert ("cassettes" in names) == (mode == "record")
        forms = [
            form.encode()
            for secret in (KEY, token)
            for form in (
                *(secret, json.dumps(secret)[1:-1], quote(secret, safe="")),
                base64.b64encode(secret.encode()).decode().rstrip("="),
            )
        ]
        leaks = [(place, form) for place, data in places.items() for form in forms if form in data]
        assert leaks == []
        assert b"Bearer bottle-" not in b"".join(places.values())


class TestThroughTheProxy:
    """An agent that asks the API's own address is recorded and replayed all the same."""

    ASKING = """
        import pytest

        @pytest.mark.bottle(agent="caller", egress=["docs.example.org"])
        def test_it(bottle, pytestconfig):
            assert bottle.model.url
            there = {"MODEL_URL": "https://api.anthropic.com", "MODEL_TOKEN": "the guest's own"}
            bottle.exec(["python3", "calling_agent.py", "What is it?"], env=there).check()
            (pytestconfig.rootpath / "heard").write_bytes(bottle.read_file("heard", text=False))
            (request,) = bottle.egress.allowed
            assert (request.host, request.rule) == ("api.anthropic.com", "model")
    """

    @pytest.mark.usefixtures("_proxy_environment")
    def test_what_was_recorded_is_replayed_byte_by_byte(self, pytester, api, run, monkeypatch):
        cache = str(environment_directory().parent.parent)
        monkeypatch.setenv("XDG_CACHE_HOME", cache)  # The inner run has another home.
        pytester.makepyfile(test_asking=self.ASKING)
        run("--bottle-model=record").assert_outcomes(passed=1)
        recorded = (pytester.path / "heard").read_bytes()
        assert recorded == events(ANSWER)
        assert tasks(api) == ["What is it?"]
        (pytester.path / "heard").unlink()
        run("--bottle-model=replay").assert_outcomes(passed=1)
        assert (pytester.path / "heard").read_bytes() == recorded
        assert len(tasks(api)) == 1
