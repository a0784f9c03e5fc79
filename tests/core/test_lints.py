"""The words by which lints know people, passwords and writes."""

import pytest

from proxy.core.policy import Rule
from proxy.core.policy_parser import parse_policy
from proxy.core.workbench.lints import Lint, is_door, literal_words, words_of, writes


def rule_of(match: str, rule_id: str = "it") -> Rule:
    """Compile one rule for anyone."""
    text = (
        'version: 1\nbackends: {lms: {servers: ["http://127.0.0.1:9000"]}}\n'
        f'rules: [{{id: {rule_id}, match: "{match}", allow: anyone}}]\n'
    )
    return parse_policy([("p.yaml", text)], {})[0].rules[0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("userEmail", {"user", "email", "useremail"}),
        ("sign-ins", {"sign", "in", "ins", "signins", "signin"}),
        ("E-Mail2", {"e", "mail2", "email2"}),
        ("", {""}),
    ],
)
def test_names_are_words(name: str, words: set[str]) -> None:
    """However words are joined, each is found, a plural in the singular as well."""
    assert words_of(name) == words


def test_only_what_is_spelled_out_counts() -> None:
    """Parameters are no words of a path."""
    assert literal_words(rule_of("GET /api/users/{token}")) == {"api", "user", "users"}


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("GET /", False),
        ("GET,OPTIONS /", False),
        ("GET,POST /", True),
        ("DELETE /", True),
        ("* /", True),
    ],
)
def test_writing_is_more_than_reading(match: str, *, expected: bool) -> None:
    """A rule writes when one of its methods does."""
    assert writes(rule_of(match)) is expected


@pytest.mark.parametrize(
    ("match", "rule_id", "expected"),
    [
        ("POST /api/login", "it", True),
        ("POST /api/passwords/reset", "it", True),
        ("POST /enter", "user-login", True),
        ("GET /login", "it", False),
        ("POST /notes", "it", False),
    ],
)
def test_doors_are_where_passwords_are_tried(
    match: str, rule_id: str, *, expected: bool
) -> None:
    """A door is known by a word of its path or of its name, and takes a body."""
    assert is_door(rule_of(match, rule_id)) is expected


@pytest.mark.parametrize("lint", Lint, ids=lambda lint: lint.slug)
def test_every_lint_says_why(lint: Lint) -> None:
    """A lint has a name in kebab case, one of two severities, and a reason."""
    assert lint.slug == lint.name.lower().replace("_", "-")
    assert lint.severity in {"warning", "note"}
    assert lint.why
