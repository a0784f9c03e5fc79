"""What is known of a request once it is over."""

import pytest

from proxy.core.exchange import Exchange
from proxy.core.reasons import Reason


def test_nothing_is_known_before_it_happened() -> None:
    """A fresh exchange says that no rule, role, reason or backend was involved."""
    new = Exchange()

    assert (new.method, new.request_id, new.rule) == ("", "", "")
    assert (new.role, new.subject, new.reason) == ("", "", None)
    assert (new.status, new.upstream_started, new.aborted) == (0, 0.0, True)
    assert (new.total_seconds, new.overhead_seconds) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("upstream_seconds", "overhead"),
    [(0.0, 0.5), (0.125, 0.375), (0.5, 0.0), (0.75, 0.0)],
    ids=["refused", "forwarded", "all-of-it", "longer-than-all"],
)
def test_overhead_is_what_the_backend_did_not_take(
    upstream_seconds: float, overhead: float
) -> None:
    """Total minus upstream; clocks read apart never make it negative."""
    exchange = Exchange()
    exchange.started, exchange.ended = 1.0, 1.5
    exchange.upstream_seconds = upstream_seconds

    assert exchange.total_seconds == 0.5
    assert exchange.overhead_seconds == overhead


def test_first_refusal_of_the_shadow_counts() -> None:
    """As it would have been the only one, were it enforced."""
    exchange = Exchange()
    assert exchange.shadow is None
    exchange.note_shadow(Reason.NOT_OWNER)
    exchange.note_shadow(Reason.RATE_LIMITED)

    assert exchange.shadow is Reason.NOT_OWNER
