"""What answers for limits while their store does not, limit by limit."""

import pytest

from proxy.core.bucket import MICROSECONDS, Grant, RateLimit
from proxy.core.limit import Limit, OnStoreFailure, Per
from proxy.core.limits import Take, takes_for
from proxy.edge.stand_in import StandIn

TWO = RateLimit.of(2, 60 * MICROSECONDS)
LOCAL, ALLOW, DENY = OnStoreFailure.LOCAL, OnStoreFailure.ALLOW, OnStoreFailure.DENY


def takes(*ways: OnStoreFailure) -> list[Take]:
    """Return a bucket of two tokens for each way of doing without the store."""
    limits = [
        Limit(id=way.value, per=Per.CLIENT, rates={None: TWO}, on_store_failure=way)
        for way in ways
    ]
    return takes_for(limits, role="", subject="", client="192.0.2.1")


@pytest.fixture
def stand_in() -> StandIn:
    """Give one whose clock stands."""
    return StandIn(lambda: 0)


def test_a_local_limit_counts_by_itself(stand_in: StandIn) -> None:
    """As many as the bucket holds, and no more."""
    answers = [stand_in.take(takes(LOCAL))[0] for _ in range(3)]

    assert [grant.allowed for grant in answers] == [True, True, False]
    assert not any(grant.lost for grant in answers)
    assert stand_in.answered == {"local": 3, "allow": 0, "deny": 0}


def test_an_allowing_limit_counts_nothing(stand_in: StandIn) -> None:
    """However often it is asked."""
    answers = [stand_in.take(takes(ALLOW)) for _ in range(9)]

    assert answers == [[Grant(True, 2, 0.0, 0.0)]] * 9
    assert stand_in.answered == {"local": 0, "allow": 9, "deny": 0}


def test_a_denying_limit_refuses_and_says_why(stand_in: StandIn) -> None:
    """It is no bucket that is empty, and a second later may be another matter."""
    [grant] = stand_in.take(takes(DENY))

    assert (grant.allowed, grant.lost, grant.retry_after) == (False, True, 1.0)
    assert stand_in.answered == {"local": 0, "allow": 0, "deny": 1}


def test_what_one_limit_denies_is_taken_from_no_other(stand_in: StandIn) -> None:
    """All or none, in whatever order the limits stand."""
    for ways in ((LOCAL, DENY, ALLOW), (DENY, ALLOW, LOCAL)):
        grants = stand_in.take(takes(*ways))

        assert [grant.allowed for grant in grants] == [way is not DENY for way in ways]
    assert stand_in.take([takes(LOCAL)[0].costing(0)])[0].remaining == 2
    assert stand_in.answered == {"local": 1, "allow": 0, "deny": 2}


def test_local_buckets_count_beside_allowing_limits(stand_in: StandIn) -> None:
    """The one lets pass, the other counts, and is what the request counts as."""
    answers = [stand_in.take(takes(ALLOW, LOCAL)) for _ in range(3)]

    assert [grants[1].allowed for grants in answers] == [True, True, False]
    assert all(grants[0].allowed for grants in answers)
    assert stand_in.answered["local"] == 3


def test_only_buckets_of_this_process_are_settled(stand_in: StandIn) -> None:
    """What counts nothing, or denies, has nothing to charge."""
    stand_in.settle(takes(LOCAL, ALLOW, DENY))

    assert stand_in.take(takes(LOCAL))[0].remaining == 0
