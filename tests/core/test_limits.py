"""Keys of buckets: who takes from which."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import limits as module
from proxy.core.bucket import RateLimit
from proxy.core.limits import asks, takes_for
from proxy.core.policy import Limit, Per
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


def test_no_more_is_given_back_than_a_bucket_holds() -> None:
    """So that no number passes what the script can hold."""
    [one] = takes_for((AUTH,), role="", subject="", client="192.0.2.1")

    assert one.costing(-(2**60)).arguments == (b"1", b"60000000", b"-60000000")
