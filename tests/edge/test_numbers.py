"""Numbers of several processes: that their sum is what one process would show."""

import json

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.exchange import Exchange
from proxy.edge.exposition import expose
from proxy.edge.families import COUNTERS, GAUGES, SAME, WORST
from proxy.edge.metrics import Metrics
from proxy.edge.numbers import Numbers
from proxy.edge.people import People

exchanges = st.builds(
    lambda rule, method, status, eighths: (rule, method, status, eighths / 8),
    st.sampled_from(["home", "login"]),
    st.sampled_from(["GET", "POST", "BREW"]),
    st.sampled_from([0, 200, 404, 502]),
    st.integers(0, 100),
)
"""What is recorded; times are sums of eighths, so that no order rounds them."""


def fresh() -> Metrics:
    """Return metrics of a process that just began."""
    metrics = Metrics(now=lambda: 1_700_000_000.0, version="1")
    metrics._sources.clear()
    return metrics


def record(metrics: Metrics, recorded: tuple[str, str, int, float]) -> None:
    """Record one request."""
    exchange = Exchange()
    exchange.rule, exchange.method, exchange.status, exchange.ended = recorded
    metrics.record(exchange)


def handed_over(metrics: Metrics) -> Numbers:
    """Return the numbers of a process as they come to another one."""
    numbers = Numbers()
    for part in metrics.parts():
        numbers.add(*json.loads(json.dumps(part)))
    return numbers


@given(st.lists(st.tuples(exchanges, st.integers(0, 2)), max_size=30))
def test_sum_is_what_one_process_would_show(
    recorded: list[tuple[tuple[str, str, int, float], int]],
) -> None:
    """Histograms and counters, to the last bit, whoever served what."""
    alone, several = fresh(), [fresh(), fresh(), fresh()]
    for exchange, worker in recorded:
        record(alone, exchange)
        record(several[worker], exchange)
    total = Numbers()
    for one in several:
        total.add_all(handed_over(one))

    assert set(expose(total, "")[0].splitlines()) == set(
        expose(alone.numbers(), "")[0].splitlines()
    )


def test_summing_leaves_what_is_summed_alone() -> None:
    """So that the next scrape can sum it again."""
    metrics = fresh()
    record(metrics, ("home", "GET", 200, 0.5))
    one, total = metrics.numbers(), Numbers()
    total.add_all(one)
    total.add_all(one)

    assert one.histograms == metrics.numbers().histograms
    assert total.values["lumina_decisions"] == {("home", "", "served"): 2}


def test_gauges_are_summed_or_the_same_or_the_worst() -> None:
    """Connections add up; a store that one process has lost is down."""
    total = Numbers()
    for up, digest, connections in ((1.0, "old", 3.0), (0.0, "new", 4.0)):
        total.add(
            [
                ("lumina_limiter_store_up", [], up),
                ("lumina_policy_info", [digest], 1.0),
                ("lumina_build_info", ["1"], 1.0),
                ("lumina_downstream_connections", [], connections),
            ],
            [],
        )

    assert total.values == {
        "lumina_limiter_store_up": {(): 0.0},
        "lumina_policy_info": {("old",): 1.0, ("new",): 1.0},
        "lumina_build_info": {("1",): 1.0},
        "lumina_downstream_connections": {(): 7.0},
    }


def test_words_of_gauges_are_gauges() -> None:
    """No counter is anything but summed, and no gauge is two things."""
    assert GAUGES.keys() - COUNTERS.keys() >= WORST | SAME
    assert not WORST & SAME


def test_gauges_go_with_their_process_and_counters_stay() -> None:
    """What was counted was counted."""
    metrics = Metrics(now=lambda: 0.0, version="1")
    metrics.declare_counters(["lumina_uploads_total"])
    metrics.count("lumina_uploads_total")
    record(metrics, ("home", "GET", 200, 0.5))
    left = metrics.numbers().counted()

    assert left.values["lumina_uploads"] == {(): 1}
    assert left.values["lumina_decisions"] == {("home", "", "served"): 1}
    assert left.histograms == metrics.numbers().histograms
    assert left.values.keys() & GAUGES.keys() == set()
    assert left.counters[-1] == "lumina_uploads"


def test_people_are_handed_over_once() -> None:
    """Whoever two processes saw is one person, for the same five minutes."""
    now = [60.0 * 28_000_000]
    one, other, both = (People(lambda: now[0]) for _ in range(3))
    for people in (one, other):
        assert people.hand_over() == []
    for minute, (first, second) in enumerate([("ada", "ada"), ("bob", "ada")]):
        now[0] = 60.0 * (28_000_000 + minute)
        one.note(first)
        one.note(first)
        other.note(second)
        for people in (one, other):
            both.take_over(json.loads(json.dumps(people.hand_over())))
    assert one.hand_over() == []
    assert both.active() == 2
    now[0] += 60.0 * 4
    assert both.active() == 2
    now[0] += 60.0

    assert both.active() == 0


def test_people_of_long_ago_and_of_soon_are_taken_over_rightly() -> None:
    """Late news counts where it belongs, if that is not forgotten already."""
    now = [60.0 * 28_000_000]
    people = People(lambda: now[0], max_active=10)
    people.take_over([(28_000_000 + age, f"person {age}") for age in range(-7, 2)])
    assert people.active() == 6
    now[0] += 60.0
    people.take_over([(28_000_000 - 1, "late"), (28_000_000 - 4, "too late")])
    people.take_over([(28_000_001, f"many {number}") for number in range(99)])

    assert people.active() == 5 + 1 + 2
