"""Every number this process shows, declared in one table and kept in plain cells.

The data path adds to lists of ints; prometheus-client sees them when somebody scrapes.
Labels come from closed sets (rules, roles, reasons, the parser's methods), so the
number of series does not depend on what clients send; a cap stands behind that.

No subject, path, token or value is ever a label.
"""

import logging
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import psutil
from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from proxy.core.exchange import Exchange

log = logging.getLogger("lumina")

MAX_SERIES: Final = 10_000
ACTIVE_MINUTES: Final = 5
MAX_ACTIVE: Final = 1_000_000

_OVERHEAD: Final[tuple[float, ...]] = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)
_DURATION: Final[tuple[float, ...]] = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
    *(0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
_SUCCESSFUL: Final = 2
"""The class of statuses that a counter of the policy counts."""
_METHODS: Final = frozenset(
    ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
)

_BY_RESPONSE: Final = ("rule", "method", "status")

_HISTOGRAMS: Final = {
    "lumina_request_duration_seconds": (
        "From a request's complete head to the last byte of its response.",
        _DURATION,
    ),
    "lumina_upstream_duration_seconds": (
        "From sending a request to the backend to the last byte of its answer.",
        _DURATION,
    ),
    "lumina_overhead_seconds": (
        "The proxy's own share of a request: total minus upstream.",
        _OVERHEAD,
    ),
}

_COUNTERS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "lumina_decisions": (
        "Requests by the rule and role that decided and the reason, or served.",
        ("rule", "role", "reason"),
    ),
    "lumina_aborted": ("Responses that broke off before their end.", ("rule",)),
    "lumina_cipher_operations": (
        "Protected leaves by field, operation and outcome.",
        ("field", "operation", "outcome"),
    ),
    "lumina_internal_errors": ("Bugs of the proxy: logged, answered with 500.", ()),
    "lumina_limiter_takes": ("Requests that took tokens.", ("outcome",)),
    "lumina_limiter_store_failures": (
        "Calls that the store of limits did not answer in time.",
        (),
    ),
    "lumina_limiter_batches": ("Calls to the store of limits.", ()),
    "lumina_tunnels_closed": (
        "Tunnels of upgraded connections that have ended, by rule and reason.",
        ("rule", "reason"),
    ),
    "lumina_pathways_generated": ("Learning pathways generated.", ()),
    "lumina_assessments_completed": ("Assessments completed.", ()),
}

_GAUGES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "lumina_system_cpu_usage": ("CPU usage of the machine in percent.", ()),
    "lumina_system_memory_usage": ("Memory usage of the machine in percent.", ()),
    "lumina_active_users": (
        "Distinct subjects in this minute and the four before it.",
        (),
    ),
    "lumina_limiter_store_up": ("Whether the store of limits answers.", ()),
    "lumina_upstream_connections": (
        "Connections to backends by what they do.",
        ("backend", "state"),
    ),
    "lumina_upstream_up": (
        "Whether a server's health check succeeds.",
        ("backend", "server"),
    ),
    "lumina_downstream_connections": ("Open connections of clients.", ()),
    "lumina_tunnels_open": ("Open tunnels of upgraded connections.", ("rule",)),
    "lumina_policy_info": ("The policy in force, by its digest.", ("digest",)),
    "lumina_policy_last_reload_timestamp_seconds": (
        "When the policy was last loaded, or refused, in epoch seconds.",
        (),
    ),
    "lumina_policy_last_reload_success": (
        "Whether the last load of the policy succeeded.",
        (),
    ),
    "lumina_build_info": ("The running version.", ("version",)),
}

_VERSION = re.compile(r";\s*version\s*=\s*([^;\s]*)")
_VERSIONS = ("0.0.4", "1.0.0")
"""Of the text format and of OpenMetrics: those that Prometheus asks for."""

Sample = tuple[tuple[str, ...], float]
Source = Callable[[], Iterable[Sample]]


class _Histogram:
    """Observations in buckets that are not cumulative yet."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def buckets(self) -> list[tuple[str, float]]:
        """Return (upper bound, cumulative count), as the exposition wants them."""
        running, rows = 0, []
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            running += count
            rows.append((str(bound), float(running)))
        return rows


class _Cell:
    """The three histograms of one (rule, method, status class)."""

    __slots__ = ("overhead", "request", "upstream")

    def __init__(self) -> None:
        self.request = _Histogram(_DURATION)
        self.upstream = _Histogram(_DURATION)
        self.overhead = _Histogram(_OVERHEAD)


class Metrics(Collector):
    """Notes what happened, and shows it to whoever scrapes.

    Args:
        registry: gets this collector and those of the process.
        now: epoch seconds.
        version: of the proxy.
        max_series: cells of one family; what comes after them is counted as "other".
        max_active: subjects that are remembered, of all minutes together.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        now: Callable[[], float],
        version: str,
        max_series: int = MAX_SERIES,
        max_active: int = MAX_ACTIVE,
    ) -> None:
        self._max_series = max_series
        self._max_active_a_minute = max_active // ACTIVE_MINUTES
        self._registry = registry
        self._now = now
        self._cells: dict[tuple[str, str, int], _Cell] = {}
        self._decisions: dict[tuple[str, str, str], int] = {}
        self._counts: dict[str, dict[tuple[str, ...], int]] = {
            name: {} if labels else {(): 0} for name, (_, labels) in _COUNTERS.items()
        }
        self._sources: dict[str, Source] = {
            "lumina_system_cpu_usage": lambda: [((), psutil.cpu_percent(None))],
            "lumina_system_memory_usage": lambda: [
                ((), psutil.virtual_memory().percent)
            ],
            "lumina_active_users": lambda: [((), float(self.active_users()))],
            "lumina_build_info": lambda: [((version,), 1.0)],
        }
        self._minute = 0
        self._active: set[str] = set()
        self._earlier: list[set[str]] = []
        self._reloaded: dict[str, list[Sample]] = {}
        psutil.cpu_percent(None)  # the first call has nothing to compare with
        registry.register(self)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    # -- what the data path calls

    def record(self, exchange: Exchange) -> None:
        """Note one request that is over."""
        rule = exchange.rule
        key = (rule, exchange.method, exchange.status // 100)
        cell = self._cells.get(key) or self._new_cell(key)
        total = exchange.ended - exchange.started
        upstream = exchange.upstream_seconds
        request = cell.request
        request.counts[bisect_left(_DURATION, total)] += 1
        request.total += total
        if exchange.upstream_started:
            backend = cell.upstream
            backend.counts[bisect_left(_DURATION, upstream)] += 1
            backend.total += upstream
        own = total - upstream if total > upstream else 0.0
        overhead = cell.overhead
        overhead.counts[bisect_left(_OVERHEAD, own)] += 1
        overhead.total += own
        reason = exchange.reason
        decision = (rule, exchange.role, "served" if reason is None else reason.slug)
        decisions = self._decisions
        so_far = decisions.get(decision, 0)
        if not so_far and len(decisions) >= self._max_series:
            decision = ("other", "other", decision[2])
            so_far = decisions.get(decision, 0)
        decisions[decision] = so_far + 1
        if exchange.subject:
            self._note_active(exchange.subject)
        if exchange.aborted:
            self._add("lumina_aborted", (rule,))
        elif (
            exchange.counter is not None
            and reason is None
            and exchange.status // 100 == _SUCCESSFUL
        ):
            self.count(exchange.counter)

    def count(self, name: str) -> None:
        """Add one to a counter of the policy, named with its ``_total``."""
        self._add(name.removesuffix("_total"), ())

    def cipher(self, field: str, operation: str, outcome: str) -> None:
        """Note one protected leaf."""
        self._add("lumina_cipher_operations", (field, operation, outcome))

    def failed(self, error: BaseException, exchange: Exchange) -> None:
        """Note a bug: counted, and logged with its traceback."""
        self._add("lumina_internal_errors", ())
        log.error(
            "internal error in rule %r, request %s",
            exchange.rule,
            exchange.request_id,
            exc_info=error,
        )

    def _add(self, name: str, labels: tuple[str, ...]) -> None:
        counts = self._counts[name]
        if labels not in counts and len(counts) >= self._max_series:
            labels = ("other",) * len(labels)
        counts[labels] = counts.get(labels, 0) + 1

    def _new_cell(self, key: tuple[str, str, int]) -> _Cell:
        rule, method, status = key
        if method not in _METHODS:
            key = (rule, "other", status)
        if key not in self._cells and len(self._cells) >= self._max_series:
            key = ("other", "other", status)
        return self._cells.setdefault(key, _Cell())

    def _note_active(self, subject: str) -> None:
        minute = int(self._now() // 60)
        if minute != self._minute:
            self._turn(minute)
        if len(self._active) < self._max_active_a_minute:
            self._active.add(subject)

    def _turn(self, minute: int) -> None:
        """Begin a minute. A clock that was put back is believed, and begins none."""
        if minute < self._minute:
            self._minute = minute
            return
        skipped = min(max(0, minute - self._minute - 1), ACTIVE_MINUTES)
        earlier: list[set[str]] = [set() for _ in range(skipped)] + [
            self._active,
            *self._earlier,
        ]
        self._earlier = earlier[: ACTIVE_MINUTES - 1]
        self._active, self._minute = set(), minute

    def active_users(self) -> int:
        """Return how many subjects there were in this minute and the four before.

        At most ``max_active``: beyond its share of them, a minute counts no more.
        """
        minute = int(self._now() // 60)
        if minute != self._minute:
            self._turn(minute)
        return len(self._active.union(*self._earlier))

    # -- what the composition root calls

    def declare_counters(self, names: Iterable[str]) -> None:
        """Show the counters of a policy from zero on; names end in ``_total``."""
        for name in names:
            self._counts.setdefault(name.removesuffix("_total"), {(): 0})

    def watch(self, name: str, source: Source) -> None:
        """Ask ``source`` for the samples of a gauge or counter at every scrape.

        Raises:
            KeyError: the table has no such family.
        """
        if name not in _COUNTERS and name not in _GAUGES:
            raise KeyError(name)
        self._sources[name] = source

    def policy_loaded(self, digest: str) -> None:
        """Note that a policy came into force."""
        self._reloaded["lumina_policy_info"] = [((digest,), 1.0)]
        self._note_reload(succeeded=True)

    def policy_refused(self) -> None:
        """Note that a policy was refused and the last good one stays."""
        self._note_reload(succeeded=False)

    def _note_reload(self, *, succeeded: bool) -> None:
        self._reloaded["lumina_policy_last_reload_timestamp_seconds"] = [
            ((), self._now())
        ]
        self._reloaded["lumina_policy_last_reload_success"] = [((), float(succeeded))]

    # -- what a scrape calls

    def expose(self, accept: str) -> tuple[bytes, str]:
        """Return (body, content type) in the format that an Accept value asks for.

        Where it asks for nothing that we write, that is the Prometheus text format.
        """
        # choose_encoder promises whatever version it is asked for, or fails at it.
        known = (
            element
            for element in accept.split(",")
            if all(one in _VERSIONS for one in _VERSION.findall(element))
        )
        encode, content_type = choose_encoder(",".join(known))
        return encode(self._registry), content_type

    def describe(self) -> Iterable[Metric]:
        """Say nothing before the first scrape: sources are not there yet."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every family of the table, and the policy's own counters."""
        yield from self._histograms()
        for name, counts in self._counts.items():
            text, labels = _COUNTERS.get(name, ("A counter of the policy.", ()))
            source = self._sources.get(name)
            counter = CounterMetricFamily(name, text, labels=labels)
            for values, value in source() if source else counts.items():
                counter.add_metric(list(values), value)
            if name == "lumina_decisions":
                for decision, value in self._decisions.items():
                    counter.add_metric(list(decision), value)
            yield counter
        for name, (text, labels) in _GAUGES.items():
            source = self._sources.get(name)
            gauge = GaugeMetricFamily(name, text, labels=labels)
            for values, value in source() if source else self._reloaded.get(name, ()):
                gauge.add_metric(list(values), value)
            yield gauge

    def _histograms(self) -> Iterator[Metric]:
        families = {
            name: HistogramMetricFamily(name, text, labels=_BY_RESPONSE)
            for name, (text, _) in _HISTOGRAMS.items()
        }
        for (rule, method, status), cell in self._cells.items():
            labels = [rule, method, f"{status}xx" if status else "none"]
            for name, histogram in zip(
                families, (cell.request, cell.upstream, cell.overhead), strict=True
            ):
                families[name].add_metric(
                    labels, histogram.buckets(), sum_value=histogram.total
                )
        yield from families.values()
