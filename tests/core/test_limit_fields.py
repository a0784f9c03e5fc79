"""The RateLimit fields: what clients are told of limits."""

import dataclasses
import datetime as dt
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.bucket import Grant, RateLimit
from proxy.core.counting import take
from proxy.core.limit import Limit, Per
from proxy.core.limit_fields import limit_fields, limit_lines, refusal_of, retry_after
from proxy.core.limits import Take, takes_for
from proxy.core.reasons import Reason
from proxy.core.windows import DAY
from tests.limit_builders import API, AUTH, BOTH, FIVE, HOUR, grants_after

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


def test_a_limit_that_cannot_be_counted_refuses_in_its_own_words() -> None:
    """503 rather than 429, without a word about what is left; a real refusal wins."""
    takes, grants = both()
    grants[0] = Grant(False, 0, 1.0, 0.0, lost=True)

    refused = refusal_of(takes, grants)

    assert refused.reason is Reason.LIMITS_UNAVAILABLE
    assert refused.detail == f"Cannot be counted now: {takes[0].id}."
    assert refused.headers == (("Retry-After", "1"),)
    assert refused.violated == ()
    grants[1] = Grant(False, 0, 7.0, 9.0)
    assert refusal_of(takes, grants).reason is Reason.RATE_LIMITED


def test_one_used_up_limit_refuses() -> None:
    """It is named, and its wait and the state of all are told."""
    takes, grants = both(6)

    refused = refusal_of(takes, grants)

    assert [grant.allowed for grant in grants] == [True, False]
    assert refused.reason is Reason.RATE_LIMITED
    assert refused.detail == "Used up: auth."
    assert refused.violated == ("auth",)
    assert refused.headers == (
        ("Retry-After", retry_after(grants)),
        *limit_fields(takes, grants),
    )


SHADOWED = dataclasses.replace(API, shadow=True)
OLDER = (dataclasses.replace(API, older=True), dataclasses.replace(AUTH, older=True))


def test_a_limit_in_shadow_mode_is_not_told_of() -> None:
    """Neither beside another nor alone, and it names no reason to refuse."""
    takes = takes_for((SHADOWED, AUTH), role="", subject="a", client="b")
    grants = [Grant(False, 0, 36.0, 99.0), Grant(False, 0, 12.0, 60.0)]

    assert limit_fields(takes, grants) == limit_fields(takes[1:], grants[1:])
    assert limit_lines(takes[:1], grants[:1]) == b""
    assert refusal_of(takes, grants).violated == ("auth",)
    assert refusal_of(takes, grants).headers[0] == ("Retry-After", "12")


def test_older_fields_tell_of_the_scarcest_limit() -> None:
    """Where the policy asks for them: what is left of it, and when there is more."""
    takes = takes_for(OLDER, role="student", subject="a", client="b")
    grants = [Grant(True, 50, 0.0, 1800.0), Grant(True, 4, 0.0, 12.0)]

    assert limit_fields(takes, grants)[2:] == (
        ("X-RateLimit-Limit", "100"),
        ("X-RateLimit-Remaining", "50"),
        ("X-RateLimit-Reset", "1800"),
    )
    grants[1] = Grant(False, 0, 11.5, 60.0)
    assert limit_fields(takes, grants)[2:] == (
        ("X-RateLimit-Limit", "5"),
        ("X-RateLimit-Remaining", "0"),
        ("X-RateLimit-Reset", "12"),
    )
    grants[1] = Grant(False, 5, math.inf, 0.0)
    assert [name for name, _ in limit_fields(takes, grants)[2:]] == [
        "X-RateLimit-Limit",
        "X-RateLimit-Remaining",
    ]
    assert b"X-RateLimit-Limit: 5" in limit_lines(takes[1:], grants[1:])


def test_a_quota_tells_when_it_begins_anew() -> None:
    """Whatever is left of it."""
    rate = RateLimit.window(5000, DAY)
    daily = Limit(id="daily", per=Per.SUBJECT, rates={None: rate}, zone=dt.UTC)
    takes = takes_for((daily,), role="", subject="a", client="b")

    for left in (4999, 0):
        assert limit_fields(takes, [Grant(True, left, 0.0, 600.0)]) == (
            ("RateLimit-Policy", '"daily";q=5000;w=86400'),
            ("RateLimit", f'"daily";r={left};t=600'),
        )


def test_what_is_counted_at_a_time_has_no_window() -> None:
    """The draft has a unit of its own for it, and nobody knows a time."""
    uploads = Limit(id="up", per=Per.SUBJECT, rates={None: RateLimit.holds(3)})
    takes = takes_for((uploads,), role="", subject="a", client="b")

    assert limit_fields(takes, [Grant(False, 0, 1.0, 0.0)]) == (
        ("RateLimit-Policy", '"up";q=3;qu="concurrent-requests"'),
        ("RateLimit", '"up";r=0'),
    )
