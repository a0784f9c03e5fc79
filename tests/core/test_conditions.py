"""Conditions: what compiles, where a mistake is, and what is neither true nor false."""

import datetime as dt
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.conditions import (
    MAX_LENGTH,
    Condition,
    ConditionError,
    UndecidedError,
)

NOON = dt.datetime(2026, 3, 2, 12, 0, tzinfo=dt.UTC)
VALUES: dict[str, Any] = {
    "method": "GET",
    "client": "192.0.2.1",
    "headers": {"user-agent": "curl/8", "host": "lms.example"},
    "now": NOON,
    "claims": {
        "sub": "ada",
        "groups": ["maths", "physics"],
        "org": {"id": 7},
        "level": 2.5,
        "staff": True,
        "nothing": None,
    },
    "role": "teacher",
    "path.id": "ada",
}


def a_condition(text: str, *, token: bool = True) -> Condition:
    """Compile an expression for a rule with one parameter of the path."""
    return Condition.compile(text, ("id",), token=token)


def mistakes_of(text: str, *, token: bool = True) -> list[tuple[int, int, str]]:
    """Return line, column and message of every mistake."""
    with pytest.raises(ConditionError) as caught:
        a_condition(text, token=token)
    return [(one.line, one.column, one.message) for one in caught.value.mistakes]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("claims.sub == path.id", True),
        ("claims.sub != path.id", False),
        ("'maths' in claims.groups", True),
        ("claims.groups.exists(group, group.startsWith('ph'))", True),
        ("claims.org.id == 7", True),
        ("claims.level > 2", True),
        ("claims.staff == true && claims.nothing == null", True),
        ("has(claims.tenant) && claims.tenant == 'x'", False),
        ("method in ['GET', 'HEAD']", True),
        ("headers['user-agent'].matches('^curl/[0-9]+$')", True),
        ("client == '192.0.2.1' && role == 'teacher'", True),
        ("now.getHours('Europe/Berlin') == 13", True),
        ("now.getDayOfWeek() in [1, 2, 3, 4, 5]", True),
        ("now < timestamp('2026-01-01T00:00:00Z')", False),
        ("claims.sub == 7", False),
        ("claims.missing == 1 || method == 'GET'", True),
    ],
)
def test_condition_holds_or_not(text: str, *, expected: bool) -> None:
    """Claims, parameters, method, fields, address, role and time can be asked for."""
    assert a_condition(text).holds(VALUES) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path.id == 7", (1, 9, "== is not for (string, int)")),
        ("path.nobody == 'a'", (1, 5, "undeclared reference to 'path.nobody'")),
        ("nope == 1", (1, 1, "undeclared reference to 'nope'")),
        ("method == 'GET' &&\n  path.id > 3", (2, 11, "> is not for (string, int)")),
        ("claims.sub = 'a'", (1, 12, "token recognition error")),
        ("1 +", (1, 4, "Syntax error")),
        ("claims.sub", (1, 1, "a condition is true or false")),
        ("method", (1, 1, "a condition is true or false")),
        ("method.matches('(')", (1, 16, "invalid regular expression")),
        ("true &&\n method.matches(r'[')", (2, 17, "invalid regular expression")),
        ("now.getHours('Europe/Nowhere') == 1", (1, 14, "Invalid timezone")),
        ("method.nothing()", (1, 15, "undeclared reference to 'nothing'")),
        ("x" * (MAX_LENGTH + 1), (1, 1, "4096 characters at most")),
        ("(" * 999, (1, 1, "recursion limit")),
    ],
    ids=range(14),
)
def test_mistake_is_found_at_load(text: str, expected: tuple[int, int, str]) -> None:
    """With its place in the expression, before any request."""
    [(line, column, message), *_] = mistakes_of(text)

    assert (line, column) == expected[:2]
    assert expected[2] in message


def test_every_mistake_is_found_at_once() -> None:
    """One does not hide the next."""
    found = mistakes_of("path.id == 7 && method == 8 && method.matches('(')")

    assert [column for _, column, _ in found] == [9, 24]


@pytest.mark.parametrize("text", ["claims.sub == 'a'", "role == 'a'"])
def test_without_a_token_there_is_nothing_of_one(text: str) -> None:
    """A rule for anyone that asks for claims is a mistake, and not a refusal."""
    [(_, _, message)] = mistakes_of(text, token=False)

    assert message.startswith("undeclared reference to")


@pytest.mark.parametrize(
    ("text", "values", "why"),
    [
        ("claims.missing == 1", VALUES, "not there"),
        ("headers['x-missing'] == 'a'", VALUES, "not there"),
        ("claims.groups > 1", VALUES, "another type"),
        ("claims.org && true", VALUES, "another type"),
        ("claims.big == 1", {"claims": {"big": 2**70}}, "another type"),
        ("claims.half == 1", {"claims": {"half": "\ud800"}}, "another type"),
        ("claims.sub == path.id", {"claims": {"sub": "a"}}, "another type"),
        ("int(claims.sub) == 1", {"claims": {"sub": "a"}}, "another type"),
        ("1 / int(claims.zero) == 1", {"claims": {"zero": 0}}, "another type"),
        (
            "claims.most + 1 > 0",
            {"claims": {"most": 2**63 - 1}},
            "too large",
        ),
    ],
    ids=range(10),
)
def test_undecided_is_no_answer(text: str, values: dict[str, Any], why: str) -> None:
    """And is told in words of ours, which hold no value of the request."""
    with pytest.raises(UndecidedError, match=why) as caught:
        a_condition(text).holds(values)

    assert "1180591620717411303424" not in str(caught.value)


def test_error_leaves_nothing_behind() -> None:
    """What follows an undecided condition is decided as ever."""
    condition = a_condition("claims.sub == path.id")
    for _ in range(3):
        with pytest.raises(UndecidedError):
            condition.holds({"claims": {"sub": "\ud800"}, "path.id": "a"})

        assert condition.holds(VALUES)


def test_condition_knows_what_it_asks_for() -> None:
    """So that nothing is made for it that it does not look at."""
    condition = a_condition("claims.sub == path.id && method == 'claims headers'")

    assert condition.names == {"claims", "path.id", "method", "headers"}
    assert a_condition("true").names == set()


def test_same_text_is_compiled_once() -> None:
    """A thousand rules with one condition cost one."""
    assert a_condition("claims.sub == 'x'") is a_condition("claims.sub == 'x'")


def test_regular_expressions_end_in_linear_time() -> None:
    """What hangs a backtracking engine for years is over at once."""
    condition = a_condition("claims.sub.matches('(a+)+$')")
    before = time.process_time()
    condition.holds({"claims": {"sub": "a" * 5_000 + "!"}})

    assert time.process_time() - before < 1.0


ODD = st.sampled_from(["claims", ".", "(", ")", "'", '"', "==", "&&", "[", "path.id"])


@given(st.lists(st.one_of(ODD, st.text(max_size=4)), max_size=12).map(" ".join))
@example("\x00")
@example("'\\q' == method")
@example("method.matches('\\x')")
def test_any_text_is_a_condition_or_a_mistake(text: str) -> None:
    """Nothing that people write ends otherwise."""
    outcome: list[object] = []
    try:
        outcome.append(a_condition(text))
    except ConditionError as error:
        outcome += error.mistakes

    assert outcome
