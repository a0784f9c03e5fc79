"""Limits that tests of core share, and what comes of taking from them."""

from proxy.core.bucket import MICROSECONDS, Grant, RateLimit, State
from proxy.core.counting import take
from proxy.core.limit import Limit, Per
from proxy.core.limits import Take

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


def grants_after(takes: list[Take], spent: int) -> list[Grant]:
    """Return what one more take says after ``spent`` of them at one instant."""
    states: list[State | None] = [None] * len(takes)
    grants: list[Grant] = []
    for _ in range(spent + 1):
        buckets = [
            (one.limit, state, 1, 0) for one, state in zip(takes, states, strict=True)
        ]
        after, grants = take(buckets, 0)
        states = states if after is None else list(after)
    return grants
