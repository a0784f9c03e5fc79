"""What the metrics port shows: that it is what was recorded, and that tools read it."""

import logging
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from proxy.core.exchange import Exchange
from proxy.core.policy_rules import OWN_METRICS
from proxy.core.reasons import Reason
from proxy.edge.exposition import expose
from proxy.edge.metrics import Metrics
from proxy.edge.people import ACTIVE_MINUTES, MAX_ACTIVE

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
SPECIFIED = {"lumina_pathways_generated", "lumina_assessments_completed"}
"""The counters of the specification, which policies count with."""

DURATIONS = ("lumina_request_duration_seconds", "lumina_upstream_duration_seconds")
OVERHEAD = "lumina_overhead_seconds"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Clock:
    """Epoch seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        """Return what was set."""
        return self.now


@pytest.fixture(name="clock")
def clock_fixture() -> Clock:
    """A clock that stands."""
    return Clock()


@pytest.fixture(name="metrics")
def metrics_fixture(clock: Clock) -> Metrics:
    """Metrics that nothing was recorded in."""
    return fresh(clock)


def fresh(clock: Clock | None = None, **caps: int) -> Metrics:
    """Return metrics with a registry of their own."""
    return Metrics(now=clock or Clock(), version="1.2.3", **caps)


def shown_by(metrics: Metrics, accept: str = "") -> tuple[bytes, str]:
    """Return body and content type of a scrape."""
    return expose(metrics.numbers(), accept, [ProcessCollector(registry=None)])


def families(metrics: Metrics, accept: str = "") -> dict[str, Metric]:
    """Return what a scrape shows, parsed back; no family is there twice."""
    body, content_type = shown_by(metrics, accept)
    is_openmetrics = content_type.startswith("application/openmetrics-text")
    parse = parse_openmetrics if is_openmetrics else parse_text
    parsed = list(parse(body.decode("utf-8")))
    names = [family.name for family in parsed]
    assert len(names) == len(set(names))
    return dict(zip(names, parsed, strict=True))


def scrape(metrics: Metrics, accept: str = "") -> Samples:
    """Return every sample of a scrape; none is there twice."""
    samples = [
        ((one.name, frozenset(one.labels.items())), one.value)
        for family in families(metrics, accept).values()
        for one in family.samples
    ]
    assert len(samples) == len(dict(samples))
    return dict(samples)


def value(metrics: Metrics, name: str, /, **labels: str) -> float | None:
    """Return one sample of a scrape; None when it is not there."""
    return scrape(metrics).get((name, frozenset(labels.items())))


def over(
    *,
    total: float = 0.0,
    upstream: float | None = None,
    rule: str = "home",
    method: str = "GET",
    status: int = 200,
    role: str = "",
    subject: str = "",
    reason: Reason | None = None,
    shadow: Reason | None = None,
    pressed: list[tuple[str, str]] | None = None,
    aborted: bool = False,
) -> Exchange:
    """Return an exchange that took ``total`` seconds; None is no upstream."""
    exchange = Exchange()
    exchange.method, exchange.status = method, status
    exchange.rule, exchange.role, exchange.subject = rule, role, subject
    exchange.reason, exchange.aborted = reason, aborted
    exchange.shadow, exchange.pressed = shadow, pressed
    exchange.started, exchange.ended = 0.0, total
    exchange.upstream_started = 0.0 if upstream is None else 1e-9
    exchange.upstream_seconds = upstream or 0.0
    return exchange


def buckets(
    metrics: Metrics, family: str, accept: str = "", **labels: str
) -> dict[float, float]:
    """Return the cumulative counts of a histogram by upper bound."""
    return {
        float(dict(sample_labels)["le"]): count
        for (name, sample_labels), count in scrape(metrics, accept).items()
        if name == f"{family}_bucket" and labels.items() <= dict(sample_labels).items()
    }


def bounds(family: str) -> list[float]:
    """Return the finite bounds of a histogram."""
    metrics = fresh()
    metrics.record(over(upstream=0.0))
    return sorted(buckets(metrics, family))[:-1]


SECONDS = st.one_of(
    st.floats(0.0, 120.0),
    st.sampled_from([0.00005, 0.0001, 0.0005, 0.001, 0.1, 0.25, 1.0, 30.0, 60.0]),
)


@settings(max_examples=25)
@given(st.lists(SECONDS, min_size=1, max_size=20))
def test_buckets_hold_what_was_recorded(recorded: list[float]) -> None:
    """Of each histogram every bucket, the sum and the count are those of its values."""
    metrics = fresh()
    for seconds in recorded:
        metrics.record(over(total=seconds, upstream=seconds))
        metrics.record(over(total=seconds, rule="refused", status=404))

    shown = scrape(metrics)
    for family, rule in [
        (DURATIONS[0], "home"),
        (DURATIONS[1], "home"),
        (DURATIONS[0], "refused"),
        (OVERHEAD, "refused"),
    ]:
        labels = {"rule": rule, "method": "GET"}
        labels["status"] = "2xx" if rule == "home" else "4xx"
        for bound, count in buckets(metrics, family, **labels).items():
            assert count == sum(seconds <= bound for seconds in recorded)
        key = frozenset(labels.items())
        assert shown[f"{family}_count", key] == len(recorded)
        assert math.isclose(shown[f"{family}_sum", key], math.fsum(recorded))


@pytest.mark.parametrize("family", [*DURATIONS, OVERHEAD])
def test_bounds_are_inclusive(family: str) -> None:
    """A value that is a bound is in that bound's bucket, one just above in the next."""
    for index, bound in enumerate(bounds(family)):
        for seconds, place in (
            (bound, index),
            (math.nextafter(bound, 0.0), index),
            (math.nextafter(bound, 99.0), index + 1),
        ):
            metrics = fresh()
            upstream = None if family == OVERHEAD else seconds
            metrics.record(over(total=seconds, upstream=upstream))
            counts = list(buckets(metrics, family).values())
            assert counts == [0.0] * place + [1.0] * (len(counts) - place)


@pytest.mark.parametrize("family", [*DURATIONS, OVERHEAD])
def test_last_bucket_is_infinite(family: str) -> None:
    """However long a request took, it is counted."""
    metrics = fresh()
    upstream = None if family == OVERHEAD else 86_400.0
    metrics.record(over(total=86_400.0, upstream=upstream))
    counts = buckets(metrics, family)

    assert {bound: count for bound, count in counts.items() if count} == {math.inf: 1.0}


def test_overhead_has_bounds_far_below_a_millisecond() -> None:
    """The proxy's own share is a fraction of one, so that is where bounds must be."""
    assert len([bound for bound in bounds(OVERHEAD) if bound < 0.001]) >= 3


@pytest.mark.parametrize(
    ("upstream", "overhead"),
    [(None, 0.5), (0.0, 0.5), (0.125, 0.375), (0.5, 0.0), (0.75, 0.0)],
    ids=["refused", "instant", "usual", "all-of-it", "longer-than-all"],
)
def test_overhead_is_total_minus_upstream(
    metrics: Metrics, upstream: float | None, overhead: float
) -> None:
    """Never negative; what no backend saw is all ours."""
    metrics.record(over(total=0.5, upstream=upstream))
    labels = {"rule": "home", "method": "GET", "status": "2xx"}

    assert value(metrics, f"{OVERHEAD}_sum", **labels) == overhead
    assert value(metrics, f"{OVERHEAD}_count", **labels) == 1.0
    assert value(metrics, "lumina_upstream_duration_seconds_count", **labels) == float(
        upstream is not None
    )


STAGES = ("decide", "take", "encrypt", "answer")
MARKS = {"admitted": 1.125, "taken": 1.375, "upstream_started": 1.5}


@pytest.mark.parametrize(
    ("passed", "sums"),
    [
        (0, (0.0, 0.0, 0.0, 0.0)),
        (1, (0.125, 0.0, 0.0, 0.0)),
        (2, (0.125, 0.25, 0.0, 0.0)),
        (3, (0.125, 0.25, 0.125, 0.0)),
        (4, (0.125, 0.25, 0.125, 0.5)),
    ],
    ids=["none", "decide", "take", "encrypt", "answer"],
)
def test_stages_are_observed_that_a_request_passed(
    metrics: Metrics, passed: int, sums: tuple[float, ...]
) -> None:
    """Each that it passed once, with its time; those that it did not reach, never."""
    exchange = Exchange("GET", 1.0)
    exchange.ended = 4.0
    for name in tuple(MARKS)[:passed]:
        setattr(exchange, name, MARKS[name])
    exchange.upstream_seconds = 2.0 if passed == len(STAGES) else 0.0
    metrics.record(exchange)
    name = "lumina_stage_duration_seconds"
    counts = [float(passed > at) for at in range(len(STAGES))]

    assert [value(metrics, f"{name}_count", stage=one) for one in STAGES] == counts
    assert [value(metrics, f"{name}_sum", stage=one) for one in STAGES] == list(sums)
    assert len([bound for bound in buckets(metrics, name) if bound < 0.001]) >= 5


@pytest.mark.parametrize(
    ("status", "shown"),
    [(200, "2xx"), (204, "2xx"), (304, "3xx"), (404, "4xx"), (599, "5xx"), (0, "none")],
)
def test_status_is_shown_by_its_class(
    metrics: Metrics, status: int, shown: str
) -> None:
    """And "none" when the client left before there was one."""
    metrics.record(over(status=status))
    labels = {"rule": "home", "method": "GET", "status": shown}

    assert value(metrics, "lumina_request_duration_seconds_count", **labels) == 1.0


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
def test_method_is_shown(metrics: Metrics, method: str) -> None:
    """Those that rules are written for."""
    metrics.record(over(method=method))
    labels = {"rule": "home", "method": method, "status": "2xx"}

    assert value(metrics, "lumina_request_duration_seconds_count", **labels) == 1.0


def test_other_methods_are_one_series(metrics: Metrics) -> None:
    """What clients make up, or what nobody read yet, adds no series."""
    for method in ("", "BREW", "get", "PROPFIND", "BREW"):
        metrics.record(over(method=method))
    labels = {"rule": "home", "method": "other", "status": "2xx"}

    assert value(metrics, "lumina_request_duration_seconds_count", **labels) == 5.0
    assert series(metrics) == 1


def series(metrics: Metrics) -> int:
    """Return how many series the request histogram has."""
    name = "lumina_request_duration_seconds_sum"
    return sum(one == name for one, _ in scrape(metrics))


def test_decisions_are_counted_by_rule_role_and_reason(metrics: Metrics) -> None:
    """Served is a reason, too; a role that does not act is empty."""
    recorded = [
        over(rule="login"),
        over(rule="login"),
        over(rule="user", role="teacher"),
        over(rule="user", role="admin"),
        over(rule="user", reason=Reason.TOKEN_MISSING, status=401),
        over(rule="login", reason=Reason.RATE_LIMITED, status=429),
        over(rule="", reason=Reason.NO_RULE, status=404),
    ]
    for exchange in recorded:
        metrics.record(exchange)
    shown = {
        tuple(dict(labels)[name] for name in ("rule", "role", "reason")): count
        for (name, labels), count in scrape(metrics).items()
        if name == "lumina_decisions_total"
    }

    assert shown == {
        ("login", "", "served"): 2.0,
        ("user", "teacher", "served"): 1.0,
        ("user", "admin", "served"): 1.0,
        ("user", "", "token-missing"): 1.0,
        ("login", "", "rate-limited"): 1.0,
        ("", "", "no-rule"): 1.0,
    }


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.slug)
def test_every_reason_can_be_counted(metrics: Metrics, reason: Reason) -> None:
    """By its slug, as it is documented."""
    metrics.record(over(reason=reason, status=reason.status))
    labels = {"rule": "home", "role": "", "reason": reason.slug}

    assert value(metrics, "lumina_decisions_total", **labels) == 1.0


def test_broken_off_responses_are_counted_by_rule(metrics: Metrics) -> None:
    """Beside their decision, which was taken all the same."""
    metrics.record(over(aborted=True))
    metrics.record(over(aborted=True, rule="events"))
    metrics.record(over(aborted=True, rule="events"))
    metrics.record(over())

    assert value(metrics, "lumina_aborted_total", rule="home") == 1.0
    assert value(metrics, "lumina_aborted_total", rule="events") == 2.0
    decided = {"rule": "home", "role": "", "reason": "served"}
    assert value(metrics, "lumina_decisions_total", **decided) == 2.0


def test_series_are_capped_and_nothing_is_lost() -> None:
    """Past the cap what is new is counted under rule "other"; the old goes on."""
    metrics = fresh(max_series=5)
    for _ in range(2):
        for number in range(5):
            metrics.record(over(rule=f"rule-{number}", method="BREW"))
        for number in range(20):
            metrics.record(over(rule=f"late-{number}", status=200 + 200 * (number % 2)))
    shown = scrape(metrics)
    by_rule: Counter[str] = Counter()
    for (name, labels), count in shown.items():
        if name == "lumina_request_duration_seconds_count":
            by_rule[dict(labels)["rule"]] += int(count)

    assert by_rule == {f"rule-{number}": 2 for number in range(5)} | {"other": 40}
    assert series(metrics) == 7


def test_labels_of_counters_are_capped_too() -> None:
    """A policy that is reloaded for years with ever new names fills no memory."""
    metrics = fresh(max_series=3)
    for number in range(9):
        metrics.cipher(f"field-{number}", "encrypt", "ok", "00000001")
        metrics.record(over(rule=f"rule-{number}", aborted=True))
    everything = dict.fromkeys(("field", "operation", "outcome", "key"), "other")

    assert value(metrics, "lumina_cipher_operations_total", **everything) == 6.0
    assert value(metrics, "lumina_aborted_total", rule="other") == 6.0


def test_decisions_are_capped_too() -> None:
    """Rules of policies long gone make room for "other", reason by reason."""
    metrics = fresh(max_series=3)
    for number in range(9):
        metrics.record(over(rule=f"rule-{number}"))
    other = {"rule": "other", "role": "other", "reason": "served"}

    assert value(metrics, "lumina_decisions_total", **other) == 6.0


def test_leaves_are_counted_by_field_operation_and_outcome(metrics: Metrics) -> None:
    """As protection notes them."""
    metrics.cipher("user.name", "encrypt", "ok", "00000001")
    metrics.cipher("user.name", "encrypt", "ok", "00000001")
    metrics.cipher("user.name", "decrypt", "bad-tag", "00000001")
    labels = {"field": "user.name", "operation": "encrypt", "outcome": "ok"}
    labels["key"] = "00000001"

    assert value(metrics, "lumina_cipher_operations_total", **labels) == 2.0
    labels |= {"operation": "decrypt", "outcome": "bad-tag"}
    assert value(metrics, "lumina_cipher_operations_total", **labels) == 1.0


def test_encryptions_add_up_by_key() -> None:
    """Over fields; what was refused or read is none, and "other" is no key."""
    metrics = fresh(max_series=5)
    metrics.cipher("user.name", "encrypt", "ok", "00000010")
    metrics.cipher("note.text", "encrypt", "ok", "00000010")
    metrics.cipher("note.text", "encrypt", "refused", "")
    metrics.cipher("note.text", "decrypt", "ok", "00000010")
    metrics.cipher("note.text", "encrypt", "ok", "ffffffff")
    for number in range(3):
        metrics.cipher(f"field-{number}", "encrypt", "ok", "00000020")

    assert metrics.encryptions() == {0x10: 2, 0xFFFFFFFF: 1}


def test_bug_is_counted_and_logged(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    """With its traceback, the rule and the request's id; subjects are left out."""
    assert value(metrics, "lumina_internal_errors_total") == 0.0
    exchange = over(subject="ada@example.org")
    exchange.request_id = "ab-1"
    with caplog.at_level(logging.ERROR):
        metrics.failed(ZeroDivisionError("of our own"), exchange)

    assert value(metrics, "lumina_internal_errors_total") == 1.0
    assert "internal error in rule 'home', request ab-1" in caplog.text
    assert "ZeroDivisionError: of our own" in caplog.text
    assert "ada" not in caplog.text


# -- people


def active(metrics: Metrics) -> float | None:
    """Return the gauge."""
    return value(metrics, "lumina_active_users")


def test_people_are_counted_once(metrics: Metrics) -> None:
    """However many requests they make; a request without a token is nobody's."""
    for subject in ("ada", "bob", "ada", "", "ada"):
        metrics.record(over(subject=subject))

    assert metrics.people.active() == 2
    assert active(metrics) == 2.0


def test_nobody_is_active_before_the_first_request(metrics: Metrics) -> None:
    """The gauge is there from the first scrape on."""
    assert active(metrics) == 0.0


def test_whoever_was_seen_stays_for_the_window(metrics: Metrics, clock: Clock) -> None:
    """In this minute and the four after it, and no longer."""
    clock.now = 60.0 * 28_000_000 + 59.9
    metrics.record(over(subject="ada"))
    seen = []
    for _ in range(7):
        seen.append(metrics.people.active())
        clock.now += 60.0

    assert seen == [1] * ACTIVE_MINUTES + [0, 0]


@pytest.mark.parametrize("asked", [True, False], ids=["scraped", "not-scraped"])
@pytest.mark.parametrize("gap", range(8))
def test_skipped_minutes_count_as_minutes(
    metrics: Metrics, clock: Clock, gap: int, asked: bool
) -> None:
    """Whether or not anybody asked or came in between."""
    metrics.record(over(subject="ada"))
    for _ in range(gap):
        clock.now += 60.0
        if asked:
            metrics.people.active()
    metrics.record(over(subject="bob"))

    assert metrics.people.active() == (2 if gap < ACTIVE_MINUTES else 1)


def test_coming_back_keeps_somebody_active(metrics: Metrics, clock: Clock) -> None:
    """The last request counts, not the first."""
    for _ in range(12):
        metrics.record(over(subject="ada"))
        clock.now += 240.0
        assert metrics.people.active() == 1


def test_a_night_without_requests_forgets_everybody(
    metrics: Metrics, clock: Clock
) -> None:
    """At once, however many minutes passed."""
    metrics.record(over(subject="ada"))
    clock.now += 8 * 3600.0

    assert metrics.people.active() == 0


@pytest.mark.parametrize("back", [1.0, 60.0, 3600.0, 86_400.0])
def test_clock_that_goes_back_loses_nobody(
    metrics: Metrics, clock: Clock, back: float
) -> None:
    """It counts as no time passed, and from there the window is as long as ever."""
    clock.now = 60.0 * 28_000_000
    metrics.record(over(subject="ada"))
    clock.now += 60.0
    metrics.record(over(subject="bob"))
    clock.now -= back
    metrics.record(over(subject="eve"))
    assert metrics.people.active() == 3
    for _ in range(10):
        clock.now += 0.001
        metrics.record(over(subject="eve"))
        clock.now -= 0.001
    assert metrics.people.active() == 3
    clock.now += 60.0 * (ACTIVE_MINUTES - 1)
    assert metrics.people.active() >= 2

    clock.now += 60.0
    assert metrics.people.active() == 0


def test_people_are_capped(clock: Clock) -> None:
    """A flood of subjects costs bounded memory, and hides nobody who was there."""
    metrics = fresh(clock, max_active=50)
    for minute in range(10):
        for number in range(100):
            metrics.record(over(subject=f"{minute}-{number}"))
        assert metrics.people.active() == min(50, 10 * (minute + 1))
        clock.now += 60.0

    assert MAX_ACTIVE >= 1_000_000


# -- policies


def test_counters_of_the_specification_are_there_from_zero(metrics: Metrics) -> None:
    """Whatever the policy counts."""
    for name in SPECIFIED:
        assert value(metrics, f"{name}_total") == 0.0

    metrics.count("lumina_pathways_generated_total")
    metrics.count("lumina_pathways_generated_total")
    metrics.count("lumina_assessments_completed_total")
    assert value(metrics, "lumina_pathways_generated_total") == 2.0
    assert value(metrics, "lumina_assessments_completed_total") == 1.0


@pytest.mark.parametrize(
    ("exchange", "expected"),
    [
        ({"status": 200}, 1.0),
        ({"status": 204}, 1.0),
        ({"status": 302}, 0.0),
        ({"status": 404}, 0.0),
        ({"status": 0, "aborted": True}, 0.0),
        ({"status": 200, "aborted": True}, 0.0),
        ({"status": 502, "reason": Reason.UPSTREAM_REFUSED}, 0.0),
    ],
    ids=["200", "204", "302", "404", "left", "broken-off", "refused"],
)
def test_rule_counts_what_it_served_whole(
    metrics: Metrics, exchange: dict[str, Any], expected: float
) -> None:
    """A 2xx response to its last byte, and nothing else."""
    one = over(**exchange)
    one.counter = "lumina_pathways_generated_total"
    metrics.record(one)

    assert value(metrics, "lumina_pathways_generated_total") == expected


def test_counters_of_a_policy_are_there_once_declared(metrics: Metrics) -> None:
    """From zero on; a reload that declares them again keeps their values."""
    assert value(metrics, "lumina_uploads_total") is None
    names = ["lumina_uploads_total", "lumina_pathways_generated_total"]
    metrics.declare_counters(names)
    assert value(metrics, "lumina_uploads_total") == 0.0
    metrics.count("lumina_uploads_total")
    metrics.declare_counters(iter(names))

    assert value(metrics, "lumina_uploads_total") == 1.0
    assert families(metrics)["lumina_uploads"].type == "counter"


def test_counter_that_a_reload_dropped_can_still_be_counted(metrics: Metrics) -> None:
    """By a request that began under the policy before."""
    metrics.declare_counters(["lumina_old_total"])
    metrics.declare_counters(["lumina_new_total"])
    metrics.count("lumina_old_total")

    assert value(metrics, "lumina_old_total") == 1.0


def test_no_counter_of_a_policy_is_one_of_ours(metrics: Metrics) -> None:
    """Every family that is shown begins as a policy's counters may not."""
    ours = {name for name in families(metrics) if name.startswith("lumina_")}

    assert ours > SPECIFIED
    assert [
        one for one in ours - SPECIFIED if not f"{one}_".startswith(OWN_METRICS)
    ] == []


def test_policy_in_force_is_shown(metrics: Metrics, clock: Clock) -> None:
    """Its digest, when it came, and that it did; before that, nothing."""
    at = "lumina_policy_last_reload_timestamp_seconds"
    assert value(metrics, at) is None
    metrics.policy_loaded("0123456789abcdef")
    loaded = clock.now
    clock.now += 60.0

    assert value(metrics, "lumina_policy_info", digest="0123456789abcdef") == 1.0
    assert value(metrics, "lumina_policy_last_reload_success") == 1.0
    assert value(metrics, at) == loaded


def test_refused_policy_leaves_the_digest(metrics: Metrics, clock: Clock) -> None:
    """The last good one stays; when the other was refused is shown, until it is not."""
    metrics.policy_loaded("good")
    clock.now += 60.0
    metrics.policy_refused()

    assert value(metrics, "lumina_policy_info", digest="good") == 1.0
    assert value(metrics, "lumina_policy_last_reload_success") == 0.0
    at = "lumina_policy_last_reload_timestamp_seconds"
    assert value(metrics, at) == clock.now

    metrics.policy_loaded("better")
    assert value(metrics, "lumina_policy_info", digest="good") is None
    assert value(metrics, "lumina_policy_info", digest="better") == 1.0
    assert value(metrics, "lumina_policy_last_reload_success") == 1.0


# -- sources


def test_sources_are_asked_with_every_scrape(metrics: Metrics) -> None:
    """Gauges and counters alike show what their source says now."""
    numbers = iter([(1, 2.0), (3, 4.0)])
    now = [next(numbers)]
    metrics.watch("lumina_downstream_connections", lambda: [((), now[0][0])])
    metrics.watch(
        "lumina_limiter_takes",
        lambda: [(("allowed",), now[0][1]), (("refused",), 0)],
    )
    assert value(metrics, "lumina_downstream_connections") == 1.0
    assert value(metrics, "lumina_limiter_takes_total", outcome="allowed") == 2.0
    now[0] = next(numbers)

    assert value(metrics, "lumina_downstream_connections") == 3.0
    assert value(metrics, "lumina_limiter_takes_total", outcome="allowed") == 4.0
    assert value(metrics, "lumina_limiter_takes_total", outcome="refused") == 0.0


def test_source_that_has_nothing_shows_nothing(metrics: Metrics) -> None:
    """Of a server that is gone no series stays."""
    up = {"10.0.0.7:80": 1.0}
    metrics.watch(
        "lumina_upstream_up",
        lambda: [(("lms", server), one) for server, one in up.items()],
    )
    labels = {"backend": "lms", "server": "10.0.0.7:80"}
    assert value(metrics, "lumina_upstream_up", **labels) == 1.0
    up.clear()

    assert value(metrics, "lumina_upstream_up", **labels) is None


def test_only_families_of_the_table_are_watched(metrics: Metrics) -> None:
    """A name that is spelled wrong would be shown nowhere."""
    with pytest.raises(KeyError, match="lumina_upstream_upp"):
        metrics.watch("lumina_upstream_upp", list)


def test_machine_and_process_are_shown(metrics: Metrics) -> None:
    """The specification's two gauges in percent, and what every exporter has."""
    shown = {name: one for (name, labels), one in scrape(metrics).items() if not labels}

    assert 0.0 <= shown["lumina_system_cpu_usage"] <= 100.0
    assert 0.0 < shown["lumina_system_memory_usage"] <= 100.0
    assert shown["process_resident_memory_bytes"] > 1e6
    assert value(metrics, "lumina_build_info", version="1.2.3") == 1.0
    assert "python_gc_collections" in families(metrics)


# -- the exposition


def busy(metrics: Metrics) -> None:
    """Record something in every family."""
    metrics.record(over(total=0.01, upstream=0.005, subject="ada", aborted=True))
    metrics.record(over(reason=Reason.NO_RULE, status=404))
    metrics.record(over(shadow=Reason.NOT_OWNER))
    metrics.record(over(pressed=[("api", "near"), ("api", "over")]))
    metrics.cipher("user.name", "encrypt", "ok", "00000001")
    metrics.policy_loaded("digest")
    metrics.declare_counters(["lumina_uploads_total"])
    for name, labels in {
        "lumina_revocations": (),
        "lumina_revocations_age_seconds": (),
        "lumina_jwks_age_seconds": ("people",),
        "lumina_jwks_fetch_failures": ("people",),
        "lumina_limiter_takes": ("allowed",),
        "lumina_key_age_seconds": ("00000001", "north", "primary"),
        "lumina_keystore_up": (),
        "lumina_key_lease_valid": (),
        "lumina_limiter_store_up": (),
        "lumina_policy_pinned": (),
        "lumina_limiter_local_takes": ("local",),
        "lumina_upstream_connections": ("lms", "idle"),
        "lumina_upstream_pending": ("lms",),
        "lumina_upstream_retries": ("lms",),
        "lumina_upstream_failures": ("lms", "127.0.0.1:9000"),
        "lumina_upstream_ejections": ("lms", "127.0.0.1:9000"),
        "lumina_upstream_ejected": ("lms", "127.0.0.1:9000"),
        "lumina_upstream_certificate_expiry_timestamp_seconds": ("lms",),
        "lumina_upstream_certificate_reload_success": ("lms",),
        "lumina_upstream_up": ("lms", "127.0.0.1:9000"),
        "lumina_downstream_connections": (),
        "lumina_listener_connections_refused": ("default",),
        "lumina_listener_certificate_expiry_timestamp_seconds": ("default",),
        "lumina_listener_certificate_reload_success": ("default",),
        "lumina_tunnels_open": ("room",),
        "lumina_tunnels_closed": ("room", "expired"),
    }.items():
        metrics.watch(name, lambda labels=labels: [(labels, 1.0)])  # type: ignore[misc]


@pytest.mark.parametrize("accept", ["", OPENMETRICS], ids=["text", "openmetrics"])
def test_every_family_says_what_it_is(metrics: Metrics, accept: str) -> None:
    """Each has samples, a type and a sentence of help, in both formats."""
    busy(metrics)
    shown = families(metrics, accept)

    for family in shown.values():
        assert family.documentation
        assert family.type in {"counter", "gauge", "histogram"}
        assert family.samples
    assert {"lumina_uploads", OVERHEAD, *DURATIONS, *SPECIFIED} <= shown.keys()


def test_limits_are_counted_by_how_they_press(metrics: Metrics) -> None:
    """Near, over, or over in shadow mode; each with its limit and the acting role."""
    near, over_it, noted = ("api", "near"), ("api", "over"), ("daily", "shadow")
    metrics.record(over(role="student", pressed=[near, over_it, noted]))
    metrics.record(over(role="student", pressed=[over_it]))

    name = "lumina_limits_over_total"
    limit = {"limit": "api", "role": "student"}
    assert value(metrics, "lumina_limits_near_total", **limit) == 1
    assert value(metrics, name, **limit, mode="enforce") == 2
    daily = {"limit": "daily", "role": "student"}
    assert value(metrics, name, **daily, mode="shadow") == 1


def test_both_formats_show_the_same(metrics: Metrics) -> None:
    """Whatever changes between two scrapes by itself aside."""
    busy(metrics)
    text, openmetrics = scrape(metrics), scrape(metrics, OPENMETRICS)

    def ours(samples: Samples) -> Samples:
        return {
            (name, frozenset((key, one) for key, one in labels if key != "le")): value
            for (name, labels), value in samples.items()
            if name.startswith("lumina_") and not name.startswith("lumina_system_")
        }

    assert ours(text) == ours(openmetrics)
    assert buckets(metrics, OVERHEAD) == buckets(metrics, OVERHEAD, OPENMETRICS)


TEXT = "text/plain; version=0.0.4; charset=utf-8"
TEXT_1 = "text/plain; version=1.0.0; charset=utf-8"
OPEN_1 = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,"
    "application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html,application/xhtml+xml,*/*;q=0.8", TEXT),
        ("text/plain", TEXT),
        ("text/plain;version=0.0.4", TEXT),
        ("text/plain; version=1.0.0", TEXT_1),
        ("application/openmetrics-text", OPEN_1),
        ("application/openmetrics-text; version=1.0.0", OPEN_1),
        (PROMETHEUS_2, OPEN_1),
        (PROMETHEUS_3, OPEN_1),
        ("application/openmetrics-text;version=0.0.1", TEXT),
        ("application/openmetrics-text;version=9.9.9", TEXT),
        ("application/openmetrics-text;version=", TEXT),
        ("application/openmetrics-text;version=banana", TEXT),
        ("text/plain;version=banana", TEXT),
        ("text/plain;version=1.0.0;version=banana", TEXT),
        ("application/openmetrics-text ; version = banana, text/plain", TEXT),
        ("application/vnd.google.protobuf;proto=io.prometheus.client", TEXT),
        (";;,=,version=1", TEXT),
    ],
)
def test_accept_chooses_the_format(
    metrics: Metrics, accept: str, content_type: str
) -> None:
    """What is asked for and can be written; else the text format. Never an error."""
    body, shown = shown_by(metrics, accept)

    assert shown.partition("; escaping=")[0] == content_type
    assert body.endswith(b"# EOF\n") == (content_type == OPEN_1)


@given(st.text(st.sampled_from("textplain/opmrics-,;=.0149 version*q"), max_size=60))
@settings(max_examples=25)
def test_no_accept_value_fails(accept: str) -> None:
    """Whatever a client sends, it gets metrics."""
    body, content_type = shown_by(fresh(), accept)

    assert b"lumina_build_info" in body
    assert content_type in {TEXT, TEXT_1, OPEN_1}


@pytest.mark.parametrize("accept", ["", OPENMETRICS], ids=["text", "openmetrics"])
@given(
    labels=st.lists(
        st.text(st.characters(codec="utf-8")) | st.sampled_from(['"', "\\", '\n"} 1']),
        min_size=4,
        max_size=4,
    )
)
@settings(max_examples=25)
def test_no_label_breaks_out(accept: str, labels: list[str]) -> None:
    """Quotes, backslashes and line feeds come back as they went in."""
    metrics = fresh()
    field, operation, outcome, key_id = labels
    metrics.cipher(field, operation, outcome, key_id)
    metrics.record(over(rule=field, role=operation))
    shown = scrape(metrics, accept)
    cipher = {"field": field, "operation": operation, "outcome": outcome}
    cipher["key"] = key_id
    decision = {"rule": field, "role": operation, "reason": "served"}

    assert shown[key("lumina_cipher_operations_total", cipher)] == 1.0
    assert shown[key("lumina_decisions_total", decision)] == 1.0


def key(name: str, labels: dict[str, str]) -> tuple[str, frozenset[tuple[str, str]]]:
    """Return the key of a sample."""
    return name, frozenset(labels.items())


def test_no_subject_is_a_label(metrics: Metrics) -> None:
    """Who people are is in no scrape."""
    metrics.record(over(subject="ada@example.org"))

    assert b"ada" not in shown_by(metrics)[0]


def test_a_scrape_changes_nothing(metrics: Metrics) -> None:
    """Two in a row show the same of what was recorded."""
    busy(metrics)

    def ours() -> Iterable[tuple[object, float]]:
        return [
            (name, one)
            for name, one in scrape(metrics).items()
            if name[0].startswith("lumina_") and "_system_" not in name[0]
        ]

    assert ours() == ours()
