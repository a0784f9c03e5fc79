"""Keys of buckets: who takes from which."""

import dataclasses
import datetime as dt
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import limits as module
from proxy.core.bucket import RateLimit
from proxy.core.limit import Cost, CostOf, Limit, Part, Per
from proxy.core.limits import Take, arguments_of, asks, quotas_of, takes_for
from proxy.core.owner import Asking
from proxy.core.windows import DAY
from tests.limit_builders import API, AUTH, BOTH, FIVE, HOUR, HUNDRED


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


def test_a_take_may_cost_more() -> None:
    """From the same bucket; what is only looked at asks for nothing."""
    [one] = takes_for((AUTH,), role="", subject="", client="192.0.2.1")

    three = one.costing(3)

    assert (three.key, three.limit, three.cost) == (one.key, one.limit, 3)
    assert three.arguments == (b"1", b"60000000", b"36000000")
    assert one.costing(1) is one
    assert (asks([one, three]), asks([one.costing(0)]), asks([])) == (
        True,
        False,
        False,
    )


def asking(now_us: int = 0, hold: str = "") -> Asking:
    """Return what a request of somebody says."""
    one = Asking(subject="ada", client="192.0.2.1", role="student")
    one.now_us, one.hold = now_us, hold
    one.given = {"path.id": "7"}
    return one


def special(limit: Limit, who: Asking) -> Take:
    """Return what somebody takes of a limit that is no plain bucket."""
    [quota] = quotas_of((limit,), who.role).each
    assert not quota.plain
    return quota.take_for(who)


def test_a_combination_has_a_bucket_of_its_own() -> None:
    """Its first part is the hash tag, and the owner is told without braces."""
    parts = (Part(Per.SUBJECT), Part(Per.PATH, "id"))
    limit = Limit(id="up", per=Per.SUBJECT, parts=parts, rates={None: FIVE})

    one = special(limit, asking())

    assert one.key == "lb:{s:ada},p.id:7:up:*:1-12000000-60000000"
    assert one.owner == "s:ada,p.id:7"
    assert special(dataclasses.replace(limit, shadow=True), asking()).owner == one.owner
    assert takes_for((API,), role="", subject="a", client="")[0].owner == "s:a"


def test_a_quota_has_another_bucket_every_day() -> None:
    """By the calendar of its zone; within a day it is the same."""
    zone = dt.timezone(dt.timedelta(hours=1))
    rate = RateLimit.window(3, DAY)
    limit = Limit(id="daily", per=Per.SUBJECT, rates={None: rate}, zone=zone)
    moments = [0, DAY - HOUR - 1, DAY - HOUR, 3 * DAY - HOUR]

    takes = [special(limit, asking(now)) for now in moments]

    assert [one.key for one in takes] == [
        "lb:{s:ada}:daily:*:w-3-86400000000@-3600",
        "lb:{s:ada}:daily:*:w-3-86400000000@-3600",
        "lb:{s:ada}:daily:*:w-3-86400000000@82800",
        "lb:{s:ada}:daily:*:w-3-86400000000@255600",
    ]
    assert [one.limit.until_us for one in takes[1:]] == [
        DAY - HOUR,
        2 * DAY - HOUR,
        4 * DAY - HOUR,
    ]
    assert takes[2].arguments == (b"-1", b"3", b"1", b"%d" % (2 * DAY - HOUR))
    assert takes[2].costing(-1).limit is takes[2].limit


def test_a_window_without_a_zone_is_a_bug() -> None:
    """The parser gives every quota one."""
    limit = Limit(id="q", per=Per.SUBJECT, rates={None: RateLimit.window(3, DAY)})

    with pytest.raises(TypeError, match="no time zone"):
        special(limit, asking())


def test_a_hold_has_an_id() -> None:
    """So that whoever lets go lets go of its own."""
    limit = Limit(id="up", per=Per.SUBJECT, rates={None: RateLimit.holds(2)})

    one = special(limit, asking(hold="id-7"))

    assert one.key == "lb:{s:ada}:up:*:h-2-0"
    assert (one.hold, one.cost) == ("id-7", 1)
    assert one.arguments == (b"-2", b"2", b"1", b"id-7", b"10000000")
    assert quotas_of((limit,), "").settles


def test_a_backoff_says_how_it_waits() -> None:
    """To the script, as to Python."""
    rate = RateLimit.backoff(3, 60, 600, 3600)

    assert arguments_of(rate, 1) == (b"-3", b"3", b"1", b"60", b"600", b"3600")


def test_a_cost_is_taken() -> None:
    """Below 0 in shadow mode, so that nobody is refused for it, plain or not."""
    fixed = Limit(id="a", per=Per.SUBJECT, rates={None: FIVE}, cost=Cost(tokens=3))
    [plain] = takes_for((fixed,), role="", subject="ada", client="")
    shadow = dataclasses.replace(fixed, shadow=True)
    [soft] = takes_for((shadow,), role="", subject="ada", client="")
    cost = Cost(of=CostOf.BODY, unit=10)
    by_body = dataclasses.replace(shadow, cost=cost)
    asked = asking()
    asked.length = 45

    assert (plain.cost, plain.arguments[2]) == (3, b"36000000")
    assert (soft.cost, soft.arguments[2]) == (-3, b"-36000000")
    assert soft.key == f"{plain.key}:shadow"
    assert special(by_body, asked).cost == -5
    assert quotas_of((by_body,), "").settles
    assert not quotas_of((fixed,), "").settles


def test_plain_limits_beside_others_are_as_ever() -> None:
    """The same bucket whether or not a rule has others, too."""
    limit = Limit(id="up", per=Per.SUBJECT, rates={None: RateLimit.holds(2)})

    takes = takes_for((API, limit), role="", subject="ada", client="192.0.2.1")

    assert takes[0].key == keys((API,), role="", subject="ada")[0]


@pytest.mark.parametrize(
    ("burst", "near"), [(1, 0), (4, 0), (5, 1), (100, 20), (10**6, 200_000)]
)
def test_a_limit_is_near_with_less_than_a_fifth(burst: int, near: int) -> None:
    """Of very few tokens none is near before it is used up."""
    rate = RateLimit.of(burst, HOUR)
    limit = Limit(id="a", per=Per.SUBJECT, rates={None: rate})

    assert quotas_of((limit,), "").each[0].near == near
