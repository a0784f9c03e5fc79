"""How many tokens a request costs."""

import pytest

from proxy.core.bucket import MICROSECONDS, RateLimit
from proxy.core.costs import cost_of, number_of, tokens_of
from proxy.core.errors import Refused
from proxy.core.limit import Cost, CostOf
from proxy.core.owner import Asking
from proxy.core.reasons import Reason

TEN = RateLimit.of(10, 60 * MICROSECONDS)
BODY = Cost(of=CostOf.BODY, unit=1024)
HEADER = Cost(of=CostOf.HEADER, name="x-cost", tokens=2, most=5)


def asking(length: int | None = 0, cost: bytes | None = None) -> Asking:
    """Return what a request says of what it costs."""
    one = Asking(subject="ada", client="192.0.2.1")
    one.length = length
    one.headers = [] if cost is None else [(b"x-cost", b"X-Cost", cost)]
    return one


@pytest.mark.parametrize(
    ("length", "expected"),
    [(0, 1), (1, 1), (1024, 1), (1025, 2), (10 * 1024, 10), (10**9, 10), (None, 1)],
)
def test_a_body_costs_by_its_length(length: int | None, expected: int) -> None:
    """At least a token, at most a burst; and one while its length is not known."""
    assert cost_of(BODY, TEN, asking(length)) == expected


def test_what_a_body_costs_is_rounded_up() -> None:
    """A byte more is a token more."""
    assert [tokens_of(BODY, length) for length in (0, 1024, 1025)] == [1, 1, 2]


@pytest.mark.parametrize(
    ("cost", "expected"), [(None, 2), (b"1", 1), (b"5", 5), (b"05", 5)]
)
def test_a_header_says_the_cost(cost: bytes | None, expected: int) -> None:
    """And without it the usual one counts."""
    assert cost_of(HEADER, TEN, asking(cost=cost)) == expected


@pytest.mark.parametrize(
    "cost", [b"0", b"-1", b"6", b"", b"1.5", b"1, 1", b"9" * 16, b"\xb2", b"1e3"]
)
def test_a_header_that_says_no_cost_is_refused(cost: bytes) -> None:
    """Rather than to guess one."""
    with pytest.raises(Refused) as caught:
        cost_of(HEADER, TEN, asking(cost=cost))

    assert caught.value.reason is Reason.MALFORMED
    assert caught.value.detail == "The field x-cost is a whole number from 1 to 5."


def test_a_fixed_cost_is_fixed() -> None:
    """Whatever the request says."""
    assert cost_of(Cost(tokens=3), TEN, asking(10**6, b"1")) == 3
    response = Cost(of=CostOf.RESPONSE_HEADER, name="x-cost", tokens=4, most=9)
    assert cost_of(response, TEN, asking(cost=b"1")) == 4


@pytest.mark.parametrize(
    ("value", "expected"), [(b"1", 1), (b"9", 9), (b"10", None), (b"x", None)]
)
def test_a_number_is_within_its_bounds(value: bytes, expected: int | None) -> None:
    """Or none at all."""
    assert number_of(value, 9) == expected
