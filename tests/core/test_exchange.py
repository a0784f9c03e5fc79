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


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ({}, (None, None, None, None)),
        ({"admitted": 1.125}, (0.125, None, None, None)),
        ({"admitted": 1.125, "taken": 1.375}, (0.125, 0.25, None, None)),
        (
            {"admitted": 1.125, "taken": 1.375, "upstream_started": 1.5},
            (0.125, 0.25, 0.125, None),
        ),
        (
            {
                "admitted": 1.125,
                "taken": 1.375,
                "upstream_started": 1.5,
                "upstream_seconds": 2.0,
            },
            (0.125, 0.25, 0.125, 0.5),
        ),
        (
            {
                "admitted": 1.125,
                "taken": 1.375,
                "upstream_started": 1.5,
                "upstream_seconds": 3.0,
            },
            (0.125, 0.25, 0.125, 0.0),
        ),
    ],
    ids=["undecided", "admitted", "taken", "asked", "answered", "clocks-apart"],
)
def test_stages_take_the_time_between_their_marks(
    marks: dict[str, float], expected: tuple[float | None, ...]
) -> None:
    """In the order of the data path; None for a stage that was not passed."""
    exchange = Exchange("GET", 1.0)
    exchange.ended = 4.0
    for name, when in marks.items():
        setattr(exchange, name, when)

    assert (
        exchange.decide_seconds,
        exchange.take_seconds,
        exchange.encrypt_seconds,
        exchange.answer_seconds,
    ) == expected


def test_first_refusal_of_the_shadow_counts() -> None:
    """As it would have been the only one, were it enforced."""
    exchange = Exchange()
    assert exchange.shadow is None
    exchange.note_shadow(Reason.NOT_OWNER)
    exchange.note_shadow(Reason.RATE_LIMITED)

    assert exchange.shadow is Reason.NOT_OWNER
