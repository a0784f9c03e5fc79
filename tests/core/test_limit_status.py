"""What is left of limits, as operators are told."""

import pytest

from proxy.core.counting import take
from proxy.core.limit_status import looks_for, status_of
from proxy.core.limits import takes_for
from proxy.core.owner import Asking
from tests.limit_builders import API, AUTH, FIVE

USER = Asking(subject="user_123", client="user_123")
CLIENT = Asking(subject="192.0.2.1", client="192.0.2.1")


def test_a_status_asks_once_for_each_rate() -> None:
    """Without a role every rate is reported, the unlimited one too."""
    looks = looks_for((API, AUTH), None, USER)

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
    [(_, shown, look)] = looks_for((API,), role, USER)

    assert look is not None
    assert shown == expected
    takes = takes_for((API,), role=role, subject="user_123", client="")
    assert [look.key] == [one.key for one in takes]


@pytest.mark.parametrize(
    ("spent", "remaining", "reset_after", "next_after"),
    [(0, 5, 0.0, 0.0), (3, 2, 36.0, 0.0), (5, 0, 60.0, 12.0)],
)
def test_a_status_says_what_is_left(
    spent: int, remaining: int, reset_after: float, next_after: float
) -> None:
    """And when there will be more."""
    [look] = looks_for((AUTH,), None, CLIENT)
    states, _ = take([(FIVE, None, spent, 0)], 0)
    _, [grant] = take([(FIVE, None if states is None else states[0], 0, 0)], 0)

    status = status_of(look, grant)

    assert (status.id, status.per, status.role) == ("auth", "client", None)
    assert (status.burst, status.remaining) == (5, remaining)
    assert (status.reset_after, status.retry_after) == (reset_after, next_after)
    assert not status.unlimited


def test_an_unlimited_role_has_a_status_without_numbers() -> None:
    """Nothing remains of what has no end."""
    [look] = looks_for((API,), "admin", USER)

    status = status_of(look, None)

    assert status.unlimited
    assert (status.role, status.burst, status.remaining) == ("admin", None, None)
