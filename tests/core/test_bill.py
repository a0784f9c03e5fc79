"""What a request owes once it is over."""

import pytest

from proxy.core.bill import Bill
from proxy.core.bucket import MICROSECONDS, RateLimit
from proxy.core.limit import Cost, CostOf, Limit, Per
from proxy.core.limits import Take, quotas_of
from proxy.core.message import Whole
from proxy.core.owner import Asking

HUNDRED = RateLimit.of(100, 60 * MICROSECONDS)
BODY = Cost(of=CostOf.BODY, unit=10)
ANSWER = Cost(of=CostOf.RESPONSE_HEADER, name="x-tokens", tokens=5, most=50)


def takes(*limits: Limit, length: int | None = None) -> list[Take]:
    """Return what a request takes of limits."""
    asking = Asking(subject="ada", client="192.0.2.1")
    asking.length, asking.hold = length, "id-1"
    return [quota.take_for(asking) for quota in quotas_of(limits, "").each]


def costing(cost: Cost, *, shadow: bool = False) -> Limit:
    """Return a limit with a cost."""
    return Limit(
        id="one", per=Per.SUBJECT, rates={None: HUNDRED}, cost=cost, shadow=shadow
    )


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"20", [15]),
        (b"5", []),
        (b"1", [-4]),
        (b"51", []),
        (b"many", []),
        (None, []),
    ],
    ids=["more", "the same", "less", "not believed", "no number", "not said"],
)
def test_the_answer_says_what_it_cost(
    answer: bytes | None, expected: list[int]
) -> None:
    """What was taken beforehand is part of it; too much is given back."""
    bill = Bill(takes(costing(ANSWER)), Whole(b""))
    assert bill.settlements(200, sent=True) == []
    bill.headers = [(b"date", b"Date", b"now")]
    if answer is not None:
        bill.headers.append((b"x-tokens", b"X-Tokens", answer))

    assert [take.cost for take in bill.settlements(200, sent=True)] == expected


@pytest.mark.parametrize(
    ("body", "length", "expected"),
    [
        (b"x" * 35, None, [3]),
        (b"x" * 35, 35, []),
        (b"", None, []),
        (b"x" * 9999, None, [99]),
    ],
    ids=["untold", "told", "none", "more than a burst"],
)
def test_a_body_costs_what_came(
    body: bytes, length: int | None, expected: list[int]
) -> None:
    """Where its length was not told beforehand."""
    bill = Bill(takes(costing(BODY), length=length), Whole(body))

    assert [take.cost for take in bill.settlements(200, sent=True)] == expected


def test_holds_are_let_go() -> None:
    """Under the id that they were taken with."""
    uploads = Limit(id="up", per=Per.SUBJECT, rates={None: RateLimit.holds(3)})
    plain = costing(Cost())

    [let_go] = Bill(takes(plain, uploads), Whole(b"")).settlements(200, sent=True)

    assert (let_go.id, let_go.cost, let_go.hold) == ("up", -1, "id-1")


def test_a_limit_in_shadow_mode_is_billed_too() -> None:
    """Its cost is below 0 because it refuses nobody."""
    bill = Bill(takes(costing(ANSWER, shadow=True)), Whole(b""))
    bill.headers = [(b"x-tokens", b"X-Tokens", b"20")]

    assert [take.cost for take in bill.settlements(200, sent=True)] == [15]
