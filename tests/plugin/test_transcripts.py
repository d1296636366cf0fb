"""What a failed test shows of its agents: in the report, and as files and a page of its own."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

pytestmark = [
    pytest.mark.bottle_requires("bubblewrap"),
    pytest.mark.usefixtures("calling_agent"),
]

TALKING = """
    import pytest
    from pytest_bottle import say

    @pytest.mark.bottle(agent="caller")
    def test_it(bottle):
        bottle.model.script(say({words!r}))
        run = bottle.run_agent("Speak.").check()
        {last}
"""


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """What is shown."""
        return " ".join(self.words)


@pytest.fixture
def talk(pytester, run):
    """Run an inner test whose agent says something; returns the result and the artifacts."""

    def talk(words, last, *options):
        pytester.makepyfile(TALKING.format(words=words, last=last))
        result = run("--bottle-artifacts=evidence", *options)
        files = {path.name: path for path in (pytester.path / "evidence").rglob("*.*")}
        by_kind = {
            kind: path.read_text()
            for kind in ("model.jsonl", "agent-1.out", "commands.jsonl", "transcript.html")
            for name, path in files.items()
            if name.endswith(kind)
        }
        return result, by_kind

    return talk


class TestFiles:
    def test_a_failed_test_has_all_that_was_said(self, talk):
        result, files = talk("A marble.", "assert 'a key' in run.text")

        result.assert_outcomes(failed=1)
        assert files["agent-1.out"] == "A marble.\n"
        (exchange,) = map(json.loads, files["model.jsonl"].splitlines())
        assert "Speak." in json.dumps(exchange)
        assert "A marble." in json.dumps(exchange)
        page = Page(files["transcript.html"])
        for words in ("Speak.", "A marble.", "completed", "test_it", "assert 'a key' in"):
            assert words in page.text

    def test_a_passed_test_has_no_page(self, talk):
        result, files = talk("A marble.", "pass")
        result.assert_outcomes(passed=1)
        assert files.keys() == {"agent-1.out", "model.jsonl", "commands.jsonl"}

    def test_unless_all_are_asked_for(self, talk):
        result, files = talk("A marble.", "pass", "--bottle-transcripts=all")
        result.assert_outcomes(passed=1)
        assert "A marble." in Page(files["transcript.html"]).text

    def test_a_test_without_an_agent_has_no_page_when_it_passes(self, pytester, run):
        pytester.makepyfile("def test_it(bottle): bottle.sh('true')")
        run("--bottle-artifacts=evidence", "--bottle-transcripts=all").assert_outcomes(passed=1)
        assert not list((pytester.path / "evidence").rglob("*.html"))

    def test_each_task_has_its_output(self, pytester, run):
        pytester.makepyfile(
            """
            import pytest
            from pytest_bottle import say

            @pytest.mark.bottle(agent="caller")
            def test_it(bottle):
                for word in ("one", "two"):
                    bottle.model.script(say(word))
                    bottle.run_agent("Speak.").check()
            """
        )
        run("--bottle-artifacts=evidence").assert_outcomes(passed=1)
        outputs = sorted((pytester.path / "evidence").rglob("*.out"))
        assert [path.name.partition(".")[2] for path in outputs] == ["agent-1.out", "agent-2.out"]
        assert [path.read_text() for path in outputs] == ["one\n", "two\n"]

    def test_nothing_is_written_where_nobody_asked(self, pytester, run):
        pytester.makepyfile(TALKING.format(words="A marble.", last="assert False"))
        before = set(pytester.path.rglob("*"))
        run().assert_outcomes(failed=1)
        new = {path.suffix for path in set(pytester.path.rglob("*")) - before}
        assert new <= {"", ".pyc"}

    def test_tests_that_share_a_bottle_have_their_own(self, pytester, run):
        pytester.makepyfile(
            """
            import pytest
            from pytest_bottle import say

            @pytest.mark.bottle(agent="caller", scope="module")
            @pytest.mark.parametrize("word", ["apple", "pear"])
            def test_it(bottle, word):
                bottle.model.script(say(word))
                assert bottle.run_agent("Speak.").text == "nothing"
            """
        )
        run("--bottle-artifacts=evidence").assert_outcomes(failed=2)
        pages = [Page(path.read_text()) for path in (pytester.path / "evidence").rglob("*.html")]
        assert len(pages) == 2
        shown = [{words.strip() for words in page.words} for page in pages]
        said = [[word for word in ("apple", "pear") if word in words] for words in shown]
        assert sorted(said) == [["apple"], ["pear"]]


class TestPage:
    HOSTILE = (
        "</pre></div><script>alert(1)</script><img src=x onerror=alert(1)>"
        '<a href="http://example.org/">here</a><iframe src="//example.org"></iframe>'
        "<style>@import url(http://example.org/x.css);</style>\x1b[2J\x1b]0;mine\x07"
    )

    @pytest.fixture
    def page(self, talk):
        result, files = talk(self.HOSTILE, "assert run.text == 'clean'")
        result.assert_outcomes(failed=1)
        return Page(files["transcript.html"])

    def test_what_an_agent_says_is_shown_and_is_no_part_of_the_page(self, page):
        tags = [tag for tag, _ in page.tags]
        assert not {"script", "img", "iframe", "a", "link", "object", "embed"} & set(tags)
        assert tags.count("style") == 1
        assert "<script>alert(1)</script>" in page.text
        assert "\x1b" not in page.text
        assert not [name for _, attributes in page.tags for name in attributes if name[:2] == "on"]

    def test_it_loads_nothing(self, talk):
        """From no other place, and a browser is told so."""
        _, files = talk("A marble.", "assert False")
        text = files["transcript.html"]
        page = Page(text)
        loaded = {"src", "href", "srcset", "action", "data"}
        assert not [name for _, attributes in page.tags for name in attributes if name in loaded]
        assert "http://" not in text
        assert "https://" not in text
        assert "@import" not in text
        assert "url(" not in text
        policies = [
            attributes["content"]
            for tag, attributes in page.tags
            if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
        ]
        assert [policy for policy in policies if policy and "default-src 'none'" in policy]

    def test_a_terminal_does_not_obey_either(self, talk):
        """Of the part of the report that is the plugin's."""
        result, _ = talk("\x1b[2J\x1b]0;mine\x07", "assert 'a key' in run.text[:0]")
        result.assert_outcomes(failed=1)
        section = result.stdout.str().partition("bottle bottle-")[2].partition("short test")[0]
        assert "agent 'caller' ended with completed" in section
        assert "\x1b" not in section
        assert "\x07" not in section


class TestReport:
    def test_it_has_the_task_the_last_turns_and_the_requests(self, talk):
        result, _ = talk("A marble.", "assert 'a key' in run.text")
        result.stdout.fnmatch_lines(
            [
                "agent 'caller' ended with completed (return code 0)",
                "*task:",
                "*Speak.",
                "*turn 0, assistant:",
                "*A marble.",
                "model requests: the last 1 of 1",
                "*[[]200] turn 0 of claude-sonnet-4-5, from the script, * tokens in, * out *",
                "artifacts: *evidence*",
            ]
        )

    def test_what_was_looked_for_in_vain_is_told(self, talk):
        """An assertion shows one line of it; the report and the page have the rest."""
        result, files = talk("A marble.", "assert run.ran('make test')")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["E *make test*", "what the assertion saw:", "*make test*"])
        page = Page(files["transcript.html"]).text
        assert "make test" in page.partition("What the assertion saw")[2]

    def test_what_was_found_at_last_is_not(self, talk):
        """Only a failed test's report has what it looked for in vain."""
        result, _ = talk("A marble.", "assert not run.ran('make test')", "-rA")
        result.assert_outcomes(passed=1)
        result.stdout.no_fnmatch_line("what the assertion saw:")

    def test_the_agents_own_key_is_in_none_of_them(self, pytester, run):
        """It may print its environment: many do."""
        manifest = pytester.path / "bottle.toml"
        printing = '"sh", "-c", "env; python3 calling_agent.py Speak.; env > seen", "{prompt}"'
        text = manifest.read_text().replace('"python3", "calling_agent.py", "{prompt}"', printing)
        manifest.write_text(text)
        pytester.makepyfile(
            TALKING.format(words="x", last="(bottle.model.token, 1 / 0)").replace(
                "run = ", "open('token', 'w').write(bottle.model.token); run = "
            )
        )

        result = run("--bottle-artifacts=evidence", "--junitxml=junit.xml")

        result.assert_outcomes(failed=1)
        token = (pytester.path / "token").read_text()
        result.stdout.fnmatch_lines(["*MODEL_TOKEN=[[]secret model token[]]*"])
        written = [path for path in (pytester.path / "evidence").rglob("*") if path.is_file()]
        assert len(written) >= 5
        for path in (*written, pytester.path / "junit.xml"):
            assert token not in path.read_text(), path
        assert token not in result.stdout.str()
