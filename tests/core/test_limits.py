"""Keys of buckets, the RateLimit fields, and what is left of a limit."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import limits as module
from proxy.core.bucket import MICROSECONDS, Grant, RateLimit, State, take
from proxy.core.errors import Refused
from proxy.core.limits import (
    Take,
    granted,
    limit_fields,
    limit_lines,
    looks_for,
    retry_after,
    status_of,
    takes_for,
)
from proxy.core.policy import Limit, Per
from proxy.core.reasons import Reason

HOUR = 3600 * MICROSECONDS
HUNDRED = RateLimit.of(100, HOUR)
THOUSAND = RateLimit.of(1000, HOUR)
FIVE = RateLimit.of(5, 60 * MICROSECONDS)

API = Limit(
    id="api",
    per=Per.SUBJECT,
    rates={None: HUNDRED, "teacher": THOUSAND, "admin": None},
)
AUTH = Limit(id="auth", per=Per.CLIENT, rates={None: FIVE})
BOTH = (API, AUTH)


def keys(
    limits: tuple[Limit, ...] = BOTH,
    role: str = "student",
    subject: str = "user_123",
    client: str = "192.0.2.1",
) -> list[str]:
    """Return the keys that a request takes from."""
    return [
        take.key
        for take in takes_for(limits, role=role, subject=subject, client=client)
    ]


def test_each_limit_takes_from_its_owners_bucket() -> None:
    """A limit per subject from the subject's, a limit per client from the client's."""
    assert keys() == [
        "lb:{s:user_123}:api:*:1-36000000-3600000000",
        "lb:{c:192.0.2.1}:auth:*:1-12000000-60000000",
    ]


def test_a_role_with_its_own_rate_has_its_own_bucket() -> None:
    """Roles without one share a bucket, and an unlimited role has none."""
    assert keys((API,), role="student") == keys((API,), role="")
    assert keys((API,), role="teacher") == [
        "lb:{s:user_123}:api:teacher:1-3600000-3600000000"
    ]
    assert keys((API,), role="admin") == []


def test_without_a_subject_the_client_pays() -> None:
    """Requests without a token do not empty one bucket together."""
    assert keys((API,), subject="") == ["lb:{c:192.0.2.1}:api:*:1-36000000-3600000000"]


def test_a_take_knows_its_limit() -> None:
    """The store gets the rate, and whoever reports gets the name."""
    [one] = takes_for((AUTH,), role="", subject="", client="::1")

    assert (one.limit, one.id) == (FIVE, "auth")


def test_a_changed_rate_begins_a_new_bucket() -> None:
    """Old levels are never read in new units."""
    before = Limit(id="api", per=Per.SUBJECT, rates={None: HUNDRED})
    after = Limit(id="api", per=Per.SUBJECT, rates={None: RateLimit.of(100, HOUR, 50)})

    assert keys((before,)) != keys((after,))


owners = st.one_of(
    st.text(min_size=1),
    st.text(alphabet=":{}*#\x00\n s:c:h", min_size=1),
    st.sampled_from(["a" * 64, "a" * 65, "a" * 10_240, "::1", "user_123\n", "\ud800"]),
)


@given(one=owners, other=owners)
def test_two_owners_never_share_a_bucket(one: str, other: str) -> None:
    """Whatever is in their names: one name, one bucket."""
    assert (keys((API,), subject=one) == keys((API,), subject=other)) == (one == other)
    assert keys((API,), subject=one) != keys((API,), subject="", client=other)


@given(
    one=st.tuples(st.text(min_size=1), st.text(min_size=1)),
    other=st.tuples(st.text(min_size=1), st.text(min_size=1)),
)
def test_two_limits_never_share_a_bucket(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    """Nor do two roles with rates of their own, whatever they are called."""

    def key(name: str, role: str) -> list[str]:
        rates: dict[str | None, RateLimit | None] = {None: FIVE, role: HUNDRED}
        return keys((Limit(id=name, per=Per.SUBJECT, rates=rates),), role=role)

    assert (key(*one) == key(*other)) == (one == other)
    assert key(*one) != keys(
        (Limit(id=one[0], per=Per.SUBJECT, rates={None: HUNDRED}),)
    )


@given(subject=owners, name=st.text(min_size=1))
def test_a_key_is_short_and_plain(subject: str, name: str) -> None:
    """It has one hash tag, and nothing that a store or a log would stumble over."""
    [key] = keys((Limit(id=name, per=Per.SUBJECT, rates={None: FIVE}),), "", subject)

    assert re.fullmatch(r"lb:\{[a-z]{1,2}:[A-Za-z0-9._@:-]{1,64}\}:[!-~]+", key)
    assert key.count("{") == key.count("}") == 1


def test_what_is_remembered_is_bounded() -> None:
    """Reloads without end do not fill the memory, nor mix up policies."""
    most = module._MAX_REMEMBERED
    for count in range(1, most + 20):
        rate = RateLimit.of(count, HOUR)
        limits = (Limit(id="api", per=Per.SUBJECT, rates={None: rate}),)

        [one] = takes_for(limits, role="", subject="a", client="b")

        assert one.limit is rate
        assert len(module._remembered) <= most


def test_owners_without_end_do_not_fill_the_memory() -> None:
    """Keys are remembered up to a bound, and stay right beyond it."""
    rate = RateLimit.of(1, HOUR)
    limits = (Limit(id="api", per=Per.CLIENT, rates={None: rate}),)
    [first] = takes_for(limits, role="", subject="", client="0")
    for number in range(module._MAX_TAKES + 20):
        [one] = takes_for(limits, role="", subject="", client=str(number))

        assert len(one.quota._takes) <= module._MAX_TAKES

    [again] = takes_for(limits, role="", subject="", client="0")

    assert again.key == first.key


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:DB8:0:0::1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("no:address", "no:other", False),
    ],
)
def test_client_of_ipv6_is_its_network(one: str, other: str, *, same: bool) -> None:
    """Whoever has a /64 does not have 2^64 buckets."""
    rate = RateLimit.of(5, HOUR)
    limits = (Limit(id="api", per=Per.CLIENT, rates={None: rate}),)
    keys = {
        takes_for(limits, role="", subject="", client=client)[0].key
        for client in (one, other)
    }

    assert (len(keys) == 1) is same


def grants_after(takes: list[Take], spent: int) -> list[Grant]:
    """Return what one more take says after ``spent`` of them at one instant."""
    states: list[State | None] = [None] * len(takes)
    grants: list[Grant] = []
    for _ in range(spent + 1):
        buckets = list(zip([one.limit for one in takes], states, strict=True))
        after, grants = take(buckets, 0)
        states = states if after is None else list(after)
    return grants


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
    _, [grant] = take([(FIVE, None)], 0, cost=6)

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


def test_a_status_asks_once_for_each_rate() -> None:
    """Without a role every rate is reported, the unlimited one too."""
    looks = looks_for((API, AUTH), None, "user_123")

    assert [(look[0].id, look[1], look[2] is None) for look in looks] == [
        ("api", None, False),
        ("api", "teacher", False),
        ("api", "admin", True),
        ("auth", None, False),
    ]


@pytest.mark.parametrize(
    ("role", "expected"), [("teacher", "teacher"), ("student", None)]
)
def test_a_status_looks_into_the_bucket_that_requests_use(
    role: str, expected: str | None
) -> None:
    """With a role, the very key of a request with that role."""
    [(_, shown, look)] = looks_for((API,), role, "user_123")

    assert look is not None
    assert shown == expected
    assert [look.key] == keys((API,), role=role)


@pytest.mark.parametrize(
    ("spent", "remaining", "reset_after", "next_after"),
    [(0, 5, 0.0, 0.0), (3, 2, 36.0, 0.0), (5, 0, 60.0, 12.0)],
)
def test_a_status_says_what_is_left(
    spent: int, remaining: int, reset_after: float, next_after: float
) -> None:
    """And when there will be more."""
    [look] = looks_for((AUTH,), None, "192.0.2.1")
    states, _ = take([(FIVE, None)], 0, cost=spent)
    _, [grant] = take([(FIVE, None if states is None else states[0])], 0, cost=0)

    status = status_of(look, grant)

    assert (status.id, status.per, status.role) == ("auth", "client", None)
    assert (status.burst, status.remaining) == (5, remaining)
    assert (status.reset_after, status.retry_after) == (reset_after, next_after)
    assert not status.unlimited


def test_an_unlimited_role_has_a_status_without_numbers() -> None:
    """Nothing remains of what has no end."""
    [look] = looks_for((API,), "admin", "user_123")

    status = status_of(look, None)

    assert status.unlimited
    assert (status.role, status.burst, status.remaining) == ("admin", None, None)


def both(cost: int = 1) -> tuple[list[Take], list[Grant]]:
    """Return a take from two full buckets, and what comes of it."""
    takes = takes_for(BOTH, role="", subject="ada", client="192.0.2.1")
    return takes, take([(one.limit, None) for one in takes], 0, cost)[1]


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
