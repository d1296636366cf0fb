"""What is shaped like a secret is found, and ordinary texts are not."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import random
import string
import sysconfig
import uuid
from pathlib import Path

import pytest

from pytest_bottle.gateway.dlp.scanner import Scanner

RNG = random.Random(11)
REPOSITORY = Path(__file__).parents[3]


def chars(count: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(RNG.choices(alphabet, k=count))


def hexadecimal(count: int) -> str:
    return chars(count, "0123456789abcdef")


def jwt() -> str:
    parts = (json.dumps(part).encode() for part in ({"alg": "HS256"}, {"sub": chars(8)}))
    encoded = [base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, chars(43)])


def private_key(kind: str) -> str:
    lines = "\n".join(chars(64) for _ in range(6))
    return f"-----BEGIN {kind}-----\n{lines}\n-----END {kind}-----\n"


# Made here, for a searcher of this repository must not find them.
KEYS = {
    "aws-access-key": "AKIA" + chars(16, string.ascii_uppercase + string.digits),
    "azure-storage-account-access-key": f"AccountKey={chars(86)}==",
    "azure-client-secret": f"{chars(3)}8Q~{chars(34)}",
    "anthropic-key": f"sk-ant-api03-{chars(93)}AA",
    "basic-auth-credentials": f"https://deploy:{chars(14)}@example.com/x",
    "databricks-token": f"dapi{hexadecimal(32)}",
    "discord-bot-token": f"MT{chars(22)}.{chars(6)}.{chars(27)}",
    "docker-hub-token": f"dckr_pat_{chars(27)}",
    "github-token": f"ghp_{chars(36)}",
    "github-fine-grained-token": f"github_pat_{chars(82)}",
    "gitlab-token": f"glpat-{chars(20)}",
    "google-api-key": f"AIza{chars(35)}",
    "groq-key": f"gsk_{chars(52)}",
    "hugging-face-token": f"hf_{chars(34, string.ascii_letters)}",
    "json-web-token": jwt(),
    "npm-token": f"npm_{chars(36)}",
    "npm-tokens": f"//registry.npmjs.org/:_authToken={uuid.UUID(int=RNG.getrandbits(128))}",
    "openai-key": f"sk-proj-{chars(58)}T3BlbkFJ{chars(58)}",
    "openrouter-key": f"sk-or-v1-{hexadecimal(64)}",
    "pypi-token": f"pypi-AgEIcHlwaS5vcmc{chars(80)}",
    "sendgrid-api-key": f"SG.{chars(22)}.{chars(43)}",
    "slack-token": f"xoxb-{chars(12, string.digits)}-{chars(12, string.digits)}-{chars(24)}",
    "stripe-access-key": f"sk_live_{chars(24)}",
    "telegram-bot-token": f"{chars(9, string.digits)}:AA{chars(33)}",
    "terraform-token": f"{chars(14)}.atlasv1.{chars(64)}",
    "twilio-api-key": f"SK{hexadecimal(32)}",
    "private-key": private_key("RSA PRIVATE KEY"),
}

AROUND = [
    "{}",
    'key = "{}"\n',
    "--header 'X: {}' --next",
    '{{"said": "look, {} is it"}}',
    "?a={}&b",
]


def rules(scanner: Scanner, data: bytes) -> list[str]:
    return [finding.rule for finding in scanner.scan(data, "a body")]


@pytest.fixture(scope="module")
def scanner():
    return Scanner({})


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("rule", KEYS)
def test_the_keys_of_services_are_found(scanner, rule, around):
    assert rules(scanner, around.format(KEYS[rule]).encode()) == [rule]


@pytest.mark.parametrize("rule", KEYS)
def test_they_are_found_where_they_are_encoded(scanner, rule):
    text = json.dumps({"content": f"export KEY={KEYS[rule]}\n"}).encode()
    assert rule in rules(scanner, base64.b64encode(text))
    assert rule in rules(scanner, gzip.compress(text))


@pytest.mark.parametrize(
    "kind",
    ["PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"],
)
def test_every_kind_of_private_key_is_found(scanner, kind):
    key = private_key(kind)
    assert rules(scanner, key.encode()) == ["private-key"]
    assert rules(scanner, json.dumps({"key": key}).encode()) == ["private-key"]


def test_the_mere_header_of_a_private_key_is_nothing(scanner):
    text = b'if line.startswith("-----BEGIN PRIVATE KEY-----"):\n    read_the_private_key(line)\n'
    assert rules(scanner, text) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('password = "{}"', "password"),
        ('{{"api_key": "{}"}}', "api_key"),
        ("DB_PASSWORD={}\n", "db_password"),
        ("client_secret: {}\n", "client_secret"),
        ("https://example.com/?access_token={}&x=1", "access_token"),
        ("aws_secret_access_key = {}", "aws_secret_access_key"),
        ("<apiKey>{}</apiKey>", "apikey"),
    ],
)
def test_a_random_value_of_a_telling_key_is_found(scanner, text, name):
    value = "q7Xv2LmN9pRs4TuV6wYz8HbC1dKf3GhJ5kQw0aZe"
    (finding,) = scanner.scan(text.format(value).encode(), "a body")
    assert finding.rule == f'high-entropy near "{name}"'
    assert finding.evidence == "q7Xv... (40 characters)"


@pytest.mark.parametrize(
    "text",
    [
        'password = "correct horse battery staple"',
        'password = "not-the-real-password-2"',
        "password = os.environ['DB_PASSWORD_PRODUCTION_2']",
        "token = tokenizer.next_token_2(self.position_10, 1)",
        "secret_name: projects/1234/secrets/my-secret-1/versions/2",
        "api_key: ${API_KEY_OF_THE_SERVICE_1}",
        "token_sha256: " + hashlib.sha256(b"x").hexdigest(),
        f"request_token_id: {uuid.UUID(int=5**50)}",
        f"token: {uuid.UUID(int=3**70)}",
        "api_key: your_api_key_0123456789_goes_here",
        "password: sha256:" + hashlib.sha256(b"y").hexdigest(),
        "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE",
        "postgres://user:password@localhost/db",
        "https://{user}:{password}@host/ https://user:$PASSWORD@host/ http://u:<secret>@h/",
        "ghp_" + "x" * 36,
    ],
)
def test_what_only_talks_of_secrets_is_nothing(scanner, text):
    assert rules(scanner, text.encode()) == []


def test_a_lock_file_is_nothing(scanner):
    """As npm and Yarn write them: each entry with a SHA-512."""
    digests = [base64.b64encode(hashlib.sha512(bytes([n])).digest()).decode() for n in range(200)]
    npm = {
        "packages": {
            f"node_modules/token-{number}": {
                "version": "1.0.2",
                "resolved": f"https://registry.npmjs.org/token-{number}/-/token-1.0.2.tgz",
                "integrity": f"sha512-{digest}",
            }
            for number, digest in enumerate(digests)
        }
    }
    yarn = "".join(
        f'"secret-{n}@^1.0.0":\n  version "1.0.2"\n'
        f'  resolved "https://registry.yarnpkg.com/secret-{n}/-/secret.tgz#{hexadecimal(40)}"\n'
        f"  integrity sha512-{digest}\n"
        for n, digest in enumerate(digests)
    )
    uv = "".join(
        f'{{ url = "https://files.pythonhosted.org/packages/{hexadecimal(60)}/token.whl", '
        f'hash = "sha256:{hexadecimal(64)}" }},\n'
        for _ in range(200)
    )
    for text in (json.dumps(npm, indent=2), yarn, uv):
        assert rules(scanner, text.encode()) == []


def test_a_git_log_is_nothing(scanner):
    log = "".join(
        f"commit {hexadecimal(40)}\nindex {hexadecimal(7)}..{hexadecimal(7)} 100644\n"
        f"    Rotate the token of the API key (see {hexadecimal(12)})\n"
        for _ in range(300)
    )
    assert rules(scanner, log.encode()) == []


def test_minified_javascript_is_nothing(scanner):
    names = [chars(2, string.ascii_letters) for _ in range(50)]
    script = ";".join(
        f"var {a}=function({b}){{return {b}.token={a}.password?e[{n}]:t.secret.apply(this,{b})}}"
        for n, (a, b) in enumerate(zip(names, reversed(names), strict=True))
    )
    assert rules(scanner, (script * 20).encode()) == []


@pytest.mark.parametrize("start", "abcdehilmnprstuwxz")
def test_the_standard_library_is_nothing(scanner, start):
    library = Path(sysconfig.get_path("stdlib"))
    for file in library.glob(f"{start}*.py"):
        assert rules(scanner, file.read_bytes()) == [], file


def test_this_repository_is_nothing(scanner):
    for file in (*REPOSITORY.glob("*.*"), *REPOSITORY.glob("pytest_bottle/*.py")):
        if file.is_file():
            assert rules(scanner, file.read_bytes()) == [], file


def test_random_bytes_are_nothing(scanner):
    assert rules(scanner, random.Random(6).randbytes(1_000_000)) == []


def test_values_that_are_known_to_be_harmless_are_passed_over():
    placeholder = KEYS["github-token"]
    assert rules(Scanner({}, known=[placeholder]), f"token: {placeholder}".encode()) == []


def test_a_declared_secret_is_not_reported_as_a_shape_as_well():
    token = KEYS["github-token"]
    assert rules(Scanner({"T": token}), f"token: {token}".encode()) == ["secret T"]


def test_without_shapes_only_declared_secrets_are_found():
    assert rules(Scanner({"T": "x" * 9}, shapes=False), KEYS["github-token"].encode()) == []


def test_a_text_is_searched_with_the_numbers_of_its_lines(scanner):
    text = f"one\n{KEYS['github-token']}\nthree\n{KEYS['npm-token']}\n{KEYS['github-token']}"
    found = scanner.scan_text_lines(text, "notes.txt")
    assert [(each.rule, each.line, each.where) for each in found] == [
        ("github-token", 2, "notes.txt"),
        ("npm-token", 4, "notes.txt"),
        ("github-token", 5, "notes.txt"),
    ]


def test_a_declared_secret_has_the_number_of_each_line_with_it():
    secret = "tok_A1b2C3d4-E5f6+G7h8+I9j0=KlMnOpQr"
    encoded = base64.b64encode(b":" + secret.encode()).decode()
    text = f"one\n<{secret}>\nthree\n{encoded}\nfive"
    found = Scanner({"T": secret}, shapes=False).scan_text_lines(text, "x")
    assert [(each.rule, each.line) for each in found] == [("secret T", 2), ("secret T", 4)]


def test_a_secret_over_several_lines_has_the_number_of_its_last_one():
    secret = "A1b2C3d4-E5f6-G7h8"
    text = "first\n" + "\n".join(secret) + "\nlast\nmore"
    found = Scanner({"T": secret}, shapes=False).scan_text_lines(text, "x")
    assert [(each.rule, each.line) for each in found] == [("secret T", 1 + len(secret))]


def test_nothing_is_in_an_empty_text(scanner):
    assert scanner.scan_text_lines("", "x") == []
