"""The RateLimit fields: what clients are told of limits."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.bucket import Grant, RateLimit
from proxy.core.counting import take
from proxy.core.errors import Refused
from proxy.core.limit_fields import granted, limit_fields, limit_lines, retry_after
from proxy.core.limits import Take, takes_for
from proxy.core.policy import Limit, Per
from proxy.core.reasons import Reason
from tests.limit_builders import AUTH, BOTH, FIVE, HOUR, grants_after

FIELDS = {
    "tokens left: until it is full": (0, '"auth";r=4;t=12'),
    "half of them left": (2, '"auth";r=2;t=36'),
    "the last token: until the next": (4, '"auth";r=0;t=12'),
    "refused: until this take": (5, '"auth";r=0;t=12'),
}


@pytest.mark.parametrize(("spent", "expected"), FIELDS.values(), ids=FIELDS.keys())
def test_the_state_field(spent: int, expected: str) -> None:
    """RateLimit says what remains, and in which time no more can be used."""
    takes = takes_for((AUTH,), role="", subject="", client="::1")

    assert limit_fields(takes, grants_after(takes, spent)) == (
        ("RateLimit-Policy", '"auth";q=5;w=60'),
        ("RateLimit", expected),
    )


def test_several_limits_are_one_list() -> None:
    """In the order of the rule, in both fields."""
    takes = takes_for(BOTH, role="student", subject="a", client="b")

    assert limit_fields(takes, grants_after(takes, 0)) == (
        ("RateLimit-Policy", '"api";q=100;w=3600, "auth";q=5;w=60'),
        ("RateLimit", '"api";r=99;t=36, "auth";r=4;t=12'),
    )


def test_a_burst_of_its_own_shows_in_the_policy() -> None:
    """The quota is the burst and the window its time to fill, so the ratio is true."""
    rate = RateLimit.of(100, HOUR, burst=20)
    limit = Limit(id="rule#0", per=Per.SUBJECT, rates={None: rate})
    takes = takes_for((limit,), role="", subject="a", client="b")

    assert limit_fields(takes, grants_after(takes, 0)) == (
        ("RateLimit-Policy", '"rule#0";q=20;w=720'),
        ("RateLimit", '"rule#0";r=19;t=36'),
    )


def test_no_limit_no_fields() -> None:
    """An unlimited role is not told of limits."""
    assert limit_fields([], []) == ()


@given(name=st.text(min_size=1))
def test_a_name_is_always_a_structured_field_string(name: str) -> None:
    """Visible ASCII between quotes, with nothing to escape."""
    limit = Limit(id=name, per=Per.SUBJECT, rates={None: FIVE})
    takes = takes_for((limit,), role="", subject="a", client="b")

    for _, value in limit_fields(takes, grants_after(takes, 0)):
        assert re.fullmatch(r'"[!#-\[\]-~]+"(;[a-z]=\d+){2}', value)


def test_a_wait_that_would_not_help_is_not_told() -> None:
    """A cost above the burst has no effective window."""
    takes = takes_for((AUTH,), role="", subject="", client="::1")
    _, [grant] = take([(FIVE, None, 6, 0)], 0)

    assert dict(limit_fields(takes, [grant]))["RateLimit"] == '"auth";r=5'


@pytest.mark.parametrize(
    ("waits", "expected"),
    [
        ([0.000001], "1"),
        ([1.0], "1"),
        ([1.000001], "2"),
        ([35.5, 12.0, None], "36"),
        ([math.inf, 12.0], "12"),
        ([math.inf], "86400"),
    ],
)
def test_retry_after(waits: list[float | None], expected: str) -> None:
    """Whole seconds, at least one, enough for the slowest limit that refused."""
    grants = [
        Grant(True, 1, 0.0, 99.0) if wait is None else Grant(False, 0, wait, 99.0)
        for wait in waits
    ]

    assert retry_after(grants) == expected


def test_retry_after_never_ends_before_the_window() -> None:
    """A client that believes either of them is served (draft section 6)."""
    takes = takes_for((AUTH,), role="", subject="", client="::1")
    grants = grants_after(takes, 5)

    assert dict(limit_fields(takes, grants))["RateLimit"].endswith(
        f";t={retry_after(grants)}"
    )


def both(cost: int = 1) -> tuple[list[Take], list[Grant]]:
    """Return a take from two full buckets, and what comes of it."""
    takes = takes_for(BOTH, role="", subject="ada", client="192.0.2.1")
    return takes, take([(one.limit, None, cost, 0) for one in takes], 0)[1]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_lines_are_the_fields(count: int) -> None:
    """However many limits there are, each field is one line with its CRLF."""
    takes, grants = both()
    takes, grants = takes[:count], grants[:count]
    fields = limit_fields(takes, grants)

    assert limit_lines(takes, grants).decode() == "".join(
        f"{name}: {value}\r\n" for name, value in fields
    )
    assert granted(takes, grants) == limit_lines(takes, grants)


def test_a_limit_that_cannot_be_counted_refuses_in_its_own_words() -> None:
    """503 rather than 429, without a word about what is left; a real refusal wins."""
    takes, grants = both()
    grants[0] = Grant(False, 0, 1.0, 0.0, lost=True)
    with pytest.raises(Refused) as caught:
        granted(takes, grants)

    assert caught.value.reason is Reason.LIMITS_UNAVAILABLE
    assert caught.value.detail == f"Cannot be counted now: {takes[0].id}."
    assert caught.value.headers == (("Retry-After", "1"),)

    grants[1] = Grant(False, 0, 7.0, 9.0)
    with pytest.raises(Refused) as caught:
        granted(takes, grants)
    assert caught.value.reason is Reason.RATE_LIMITED


def test_one_used_up_limit_refuses() -> None:
    """It is named, and its wait and the state of all are told."""
    takes, grants = both(6)
    with pytest.raises(Refused) as caught:
        granted(takes, grants)

    assert [grant.allowed for grant in grants] == [True, False]
    assert caught.value.reason is Reason.RATE_LIMITED
    assert caught.value.detail == "Used up: auth."
    assert caught.value.headers == (
        ("Retry-After", retry_after(grants)),
        *limit_fields(takes, grants),
    )
