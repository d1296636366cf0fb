"""Each rule of the table ignores what it says, where it says."""

from __future__ import annotations

import pytest

from pytest_bottle.gateway.normalise import normalise
from pytest_bottle.gateway.rules import RULES
from pytest_bottle.gateway.rules import TextRule
from tests.unit.gateway.agent_requests import UUIDS
from tests.unit.gateway.agent_requests import saying

EXAMPLES = {
    "today's date": [
        ("context", "Today's date is 2026-11-23.", "Today's date is 2027-01-02."),
        ("context", "Today's date: 2026/11/23", "Today's date: 2027/01/02"),
        ("context", "Today's date is now Mon Nov 23 2026", "Today's date is now Sat Jan 2 2027"),
    ],
    "`<current_date>`, `<timezone>`": [
        ("context", "<timezone>Etc/UTC</timezone>", "<timezone>Asia/Tokyo</timezone>")
    ],
    "`Platform:`, `OS Version:`, `Shell:`": [
        ("context", "<env>\nPlatform: linux\n</env>", "<env>\nPlatform: darwin\n</env>"),
        ("context", " - OS Version: Linux 6.1", " - OS Version: Linux 6.18"),
    ],
    "`<shell>`": [("context", "<shell>bash</shell>", "<shell>zsh</shell>")],
    "ids under `Recent commits:`": [
        ("context", "Recent commits:\n1234567 One\n", "Recent commits:\n89abcde One\n")
    ],
    "temporary names: `/tmp/tmpab12cd34`, `/tmp/tmp.Ab12Cd34Ef`, `pytest-of-me/pytest-7`": [
        ("results", "in /tmp/tmpab12cd34/a", "in /tmp/tmp_b12cd35/a"),
        ("user", "see /tmp/tmp.Ab12Cd34Ef", "see /tmp/tmp.Ab12Cd34Eg"),
        ("results", "/tmp/pytest-of-root/pytest-7/x", "/tmp/pytest-of-me/pytest-12/x"),
    ],
    "session ids in paths below `.claude`, `.codex` and `/tmp/claude-N`": [
        ("results", f"/root/.claude/x/{UUIDS[0]}.jsonl", f"/root/.claude/x/{UUIDS[1]}.jsonl"),
        ("context", f"/tmp/claude-1/-w/{UUIDS[0]}/t", f"/tmp/claude-1/-w/{UUIDS[1]}/t"),
    ],
    "the user id in `/tmp/claude-N`": [("results", "/tmp/claude-0/a", "/tmp/claude-1000/a")],
    "`Chunk ID:`, `Wall time:`, `Original token count:`": [
        ("results", "Chunk ID: 12ab\nWall time: 1.0 s", "Chunk ID: 34cd\nWall time: 0.1 s")
    ],
    "`duration_seconds`": [
        ("results", '{"duration_seconds": 0.1}', '{"duration_seconds": 12}'),
    ],
    "`in 0.12s`": [("results", "Ran 3 tests in 0.001s", "Ran 3 tests in 1.2s")],
    "times in `ls -l`": [
        ("results", "drwxr-x--- 2 a b 4096 Nov  3 09:12 d", "drwxr-x--- 2 a b 4096 Dec 31  2025 d"),
    ],
    "`commit <id>` and `Date:` of `git log`": [
        ("results", f"commit {'1' * 40} (HEAD)", f"commit {'2' * 40} (HEAD)"),
        ("results", "Date:   Mon Nov 23 2026", "Date:   Tue Nov 24 2026"),
    ],
    "`[main 1a2b3c4]` of `git commit`": [
        ("results", "[main (root-commit) 1a2b3c4] First", "[main (root-commit) 4d5e6f7] First")
    ],
    "`at 0x7f1ea70506d0`": [
        ("results", "<object at 0x7f1ea70506d0>", "<object at 0x7f7646ac46d0>")
    ],
}
SCOPES = ("context", "results", "user")


def test_every_rule_has_an_example():
    assert list(EXAMPLES) == [rule.what for rule in RULES if isinstance(rule, TextRule)]


@pytest.mark.parametrize(
    ("rule", "scope", "one", "other"),
    [(rule, *each) for rule, examples in EXAMPLES.items() for each in examples],
)
def test_a_rule_holds_where_it_says_and_nowhere_else(rule, scope, one, other):
    """And it changes nothing when it is applied again."""
    known = next(each for each in RULES if each.what == rule)
    assert isinstance(known, TextRule)
    scopes = set(SCOPES) if known.scope == "anywhere" else {known.scope}
    assert scope in scopes
    same = {
        each for each in SCOPES if normalise(saying(each, one)) == normalise(saying(each, other))
    }
    # Those of the context are put into the user's messages by the agent, in its own tags.
    assert same - ({"user", "results"} if "<env>" in one else set()) == scopes
    once = normalise(saying(scope, one))
    assert normalise(once) == once
