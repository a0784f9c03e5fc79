"""Refusals that are certain to be repeated."""

import dataclasses

import pytest

from proxy.core import denials as module
from proxy.core.bucket import Grant
from proxy.core.denials import Denials
from proxy.core.limit import Cost, CostOf
from proxy.core.limits import Take, takes_for
from tests.limit_builders import API, AUTH

REFUSED = Grant(False, 0, 12.0, 60.0)


def taken(subject: str = "ada", cost: int = 1) -> list[Take]:
    """Return a take of a limit."""
    [one] = takes_for((AUTH,), role="", subject="", client=subject)
    return [one.costing(cost)]


def test_a_refusal_is_repeated_for_a_while() -> None:
    """With what it said, less the time that has passed."""
    denials = Denials()
    denials.note(taken(), [REFUSED], 100.0, 5.0)

    takes, grants = denials.refusing(taken(), 104.0)

    assert [take.id for take in takes] == ["auth"]
    assert grants == [Grant(False, 0, 8.0, 56.0)]
    assert denials.refusing(taken("other"), 104.0) == ([], [])


@pytest.mark.parametrize(
    ("wait", "now", "certain"),
    [(12.0, 104.9, True), (12.0, 105.0, False), (3.0, 103.0, False)],
)
def test_it_is_not_believed_for_long(wait: float, now: float, *, certain: bool) -> None:
    """Nor when there may be enough; then the store is asked, and it is forgotten."""
    denials = Denials()
    denials.note(taken(), [Grant(False, 0, wait, 60.0)], 100.0, 5.0)

    assert bool(denials.refusing(taken(), now)[0]) is certain
    assert len(denials) == certain


def test_who_asks_for_less_may_get_it() -> None:
    """Only as much, or more, is certain not to be there."""
    denials = Denials()
    denials.note(taken(cost=3), [REFUSED], 100.0, 5.0)

    assert denials.refusing(taken(cost=2), 100.0)[0] == []
    assert denials.refusing(taken(cost=3), 100.0)[0]


def test_what_was_given_back_is_looked_for() -> None:
    """At once, where it was given back."""
    denials = Denials()
    denials.note(taken(), [REFUSED], 100.0, 5.0)
    denials.forget(taken()[0].key)
    denials.forget("never there")

    assert denials.refusing(taken(), 100.0) == ([], [])


def test_only_what_time_alone_gives_back_is_remembered() -> None:
    """Not what was allowed, could not be counted, or is settled by requests."""
    denials = Denials()
    answered = Cost(of=CostOf.RESPONSE_HEADER, name="x", most=5)
    limits = (
        dataclasses.replace(API, cost=answered),
        dataclasses.replace(API, shadow=True),
    )
    others = takes_for(limits, role="", subject="ada", client="")
    denials.note(others, [REFUSED, REFUSED], 100.0, 5.0)
    denials.note(taken(), [REFUSED._replace(lost=True)], 100.0, 5.0)
    denials.note(taken(), [Grant(True, 1, 0.0, 1.0)], 100.0, 5.0)

    assert len(denials) == 0


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over goes first, and everything when nothing is."""
    monkeypatch.setattr(module, "MAX_DENIED", 3)
    denials = Denials()
    for number in range(3):
        denials.note(taken(str(number)), [REFUSED], 100.0 + number, 5.0)
    denials.note(taken("3"), [REFUSED], 106.0, 5.0)
    assert [bool(denials.refusing(taken(str(n)), 106.0)[0]) for n in range(4)] == [
        False,
        False,
        True,
        True,
    ]
    denials.note(taken("4"), [REFUSED], 106.0, 5.0)
    denials.note(taken("5"), [REFUSED], 106.0, 5.0)

    assert len(denials) == 1
