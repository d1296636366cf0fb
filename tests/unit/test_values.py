"""What the values of a manifest or a marker mean."""

from __future__ import annotations

import re

import pytest

from pytest_bottle.nearest import nearest
from pytest_bottle.usage import Budget
from pytest_bottle.values import key_path
from pytest_bottle.values import parse_budget
from pytest_bottle.values import parse_destination
from pytest_bottle.values import parse_duration
from pytest_bottle.values import parse_environment_name
from pytest_bottle.values import parse_guest_directory
from pytest_bottle.values import parse_guest_path
from pytest_bottle.values import parse_mode
from pytest_bottle.values import parse_size
from pytest_bottle.values import parse_skill_name
from pytest_bottle.values import parse_user


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (1, 1),
        (4096, 4096),
        ("4096", 4096),
        ("10b", 10),
        ("512M", 512 * 1024**2),
        ("512m", 512 * 1024**2),
        ("512MB", 512 * 1024**2),
        ("1GiB", 1024**3),
        ("1.5 GiB", 3 * 1024**3 // 2),
        ("2k", 2048),
        ("1T", 1024**4),
    ],
)
def test_a_size_is_bytes_or_text_with_a_binary_unit(value, size):
    assert parse_size(value) == size


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "", "0M", "512X", "M", "1e3", "-1M", None])
def test_what_is_no_size_is_refused(value):
    with pytest.raises(ValueError, match="must be a size above zero"):
        parse_size(value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(90, 90.0), (0.5, 0.5), ("90", 90.0), ("90s", 90.0), ("2m", 120.0), ("1.5h", 5400.0)],
)
def test_a_duration_is_seconds_or_text_with_a_unit(value, seconds):
    assert parse_duration(value) == seconds


def test_milliseconds_are_not_minutes():
    assert parse_duration("250ms") == pytest.approx(0.25)


@pytest.mark.parametrize("value", [0, -1, True, "", "2 weeks", float("inf"), float("nan"), None])
def test_what_is_no_duration_is_refused(value):
    with pytest.raises(ValueError, match="must be a time above zero"):
        parse_duration(value)


@pytest.mark.parametrize("value", ["644", "0644", "0o644", 0o644])
def test_a_mode_is_octal(value):
    assert parse_mode(value) == 0o644


@pytest.mark.parametrize("value", [644, "4755", "648", "rw", 0o4755, -1, True])
def test_a_mode_without_quotes_or_with_a_set_id_bit_is_refused(value):
    with pytest.raises(ValueError, match="permission bits in octal"):
        parse_mode(value)


def test_a_user_is_a_name_or_a_uid():
    assert [parse_user("node"), parse_user(1000), parse_user("1000")] == ["node", "1000", "1000"]


@pytest.mark.parametrize("value", ["", "a:b", "../root", -1, False])
def test_what_is_no_user_is_refused(value):
    with pytest.raises(ValueError, match="name or the uid"):
        parse_user(value)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("app.py", "app.py"),
        ("./src//app.py", "src/app.py"),
        ("data/", "data"),
        ("//etc/motd", "/etc/motd"),
        ("~/.netrc", "~/.netrc"),
        (".", "."),
    ],
)
def test_a_guest_path_has_one_normal_form(value, path):
    assert parse_guest_path(value) == path


@pytest.mark.parametrize("value", ["", "../x", "a/../../x", "/a/..", "a\0b", 5])
def test_a_guest_path_never_climbs(value):
    with pytest.raises(ValueError, match=r"without `\.\.`"):
        parse_guest_path(value)


def test_a_workdir_is_absolute():
    assert parse_guest_directory("/srv/app/") == "/srv/app"


@pytest.mark.parametrize("value", ["srv", "/", "//", "", "/srv/..", 5])
def test_a_workdir_that_is_relative_or_the_root_is_refused(value):
    with pytest.raises(ValueError, match="path in the guest"):
        parse_guest_directory(value)


@pytest.mark.parametrize(
    ("value", "destination"),
    [
        ("docs.python.org", "docs.python.org"),
        ("Docs.Python.ORG", "docs.python.org"),
        ("*.example.org", "*.example.org"),
        ("build-1", "build-1"),
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7/32", "192.0.2.7"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("2001:DB8::1", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8::/32"),
    ],
)
def test_a_destination_is_a_host_an_address_or_a_network(value, destination):
    assert parse_destination(value) == destination


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("*", "must not allow everything: name the hosts and networks"),
        ("0.0.0.0/0", "must not allow everything"),
        ("::/0", "must not allow everything"),
        ("https://docs.python.org/3", "must not be a URL: write its host only"),
        ("docs.python.org/3", "must not have a path: write the host only"),
        ("docs.python.org:443", "must not have a port: write the host or address only"),
        ("192.0.2.7:443", "must not have a port"),
        ("[2001:db8::1]:443", "must not have a port"),
        ("10.0.0.1/8", "must be a network's first address and its length"),
        ("192.0.2.7/33", "must be a network's first address and its length"),
        ("docs.*.org", "must have a `*` at its beginning only"),
        ("*.*", "must have a `*` at its beginning only"),
        ("*example.org", "must have a `*` at its beginning only"),
        ("300.1.1.1", "must be a host"),
        ("10.0.0", "must be a host"),
        ("a b", "must be a host"),
        ("-x.org", "must be a host"),
        ("x.org.", "must be a host"),
        ("bücher.example", "must be a host"),
        ("fe80::1%eth0", "must be a host"),
        ("", "must be a host"),
        (5, "must be a host"),
    ],
)
def test_what_is_no_destination_or_is_all_of_them_is_refused(value, problem):
    with pytest.raises(ValueError, match="^" + re.escape(problem)):
        parse_destination(value)


@pytest.mark.parametrize("value", ["A=B", "1A", "", "sk-123", "A B", "A\n"])
def test_an_environment_name_has_only_letters_digits_and_underscores(value):
    assert parse_environment_name("_API_KEY2") == "_API_KEY2"
    with pytest.raises(ValueError, match="name of an environment variable"):
        parse_environment_name(value)


@pytest.mark.parametrize("value", ["", ".", "..", "a/b", "../a", ".hidden", "-rf", "a\n", None])
def test_a_skill_name_is_one_safe_path_component(value):
    assert parse_skill_name("sql-audit_v1.2") == "sql-audit_v1.2"
    with pytest.raises(ValueError, match="must be a skill's name"):
        parse_skill_name(value)


def test_a_refusal_does_not_repeat_the_value():
    """A secret may have been written in the wrong place."""
    with pytest.raises(ValueError, match="environment variable") as caught:
        parse_environment_name("sk-secret")
    assert "sk-secret" not in str(caught.value)


def test_a_key_path_quotes_where_toml_does():
    assert key_path("bottles", "dev", "files", "/etc/motd") == 'bottles.dev.files."/etc/motd"'


def test_a_misspelt_name_gets_its_nearest_neighbour():
    assert nearest("memroy", ["memory", "model"]) == "Did you mean 'memory'?"


def test_a_name_like_no_other_gets_them_all():
    assert nearest("xyz", ["memory", "model"]) == "Known: memory, model."


def test_without_known_names_there_is_no_advice():
    assert nearest("xyz", []) == ""


@pytest.mark.parametrize(
    ("value", "budget"),
    [
        (1, Budget(dollars=1)),
        (0.25, Budget(dollars=0.25)),
        ("0.50", Budget(dollars=0.5)),
        ("$0.50", Budget(dollars=0.5)),
        ("1 token", Budget(tokens=1)),
        ("20k tokens", Budget(tokens=20_000)),
        (" 1.5M tokens ", Budget(tokens=1_500_000)),
    ],
)
def test_a_budget_is_in_dollars_unless_it_says_tokens(value, budget):
    assert parse_budget(value) == budget


@pytest.mark.parametrize("value", [0, -1, True, "", "0 tokens", "much", "$", "1 euro", "inf", None])
def test_what_is_no_budget_is_refused(value):
    with pytest.raises(ValueError, match=r"^must be above zero"):
        parse_budget(value)
