"""Every number this process shows, kept in plain cells.

The data path adds to lists of ints; they are copied to ``numbers`` when somebody asks.
Labels come from closed sets (rules, roles, reasons, the parser's methods), so the
number of series does not depend on what clients send; a cap stands behind that.

No subject, path, token or value is ever a label.
"""

import functools
import gc
import logging
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import psutil

from proxy.core.exchange import Exchange
from proxy.core.pressure import NEAR, OVER
from proxy.edge.families import (
    BY_RESPONSE,
    COUNTERS,
    DURATION,
    GAUGES,
    HISTOGRAMS,
    OVERHEAD,
    STAGE,
    STAGES,
)
from proxy.edge.numbers import HistogramRow, Numbers, Part, ValueRow
from proxy.edge.people import MAX_ACTIVE, People

log = logging.getLogger("lumina")

MAX_SERIES: Final = 10_000

_SUCCESSFUL: Final = 2
"""The class of statuses that a counter of the policy counts."""
_METHODS: Final = frozenset(
    ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
)
_OF_A_CELL: Final = tuple(
    name for name, (_, _, labels) in HISTOGRAMS.items() if labels == BY_RESPONSE
)
_CELLS_AT_ONCE: Final = 32
"""How many cells are copied without a pause: a fraction of a millisecond's work."""

Sample = tuple[tuple[str, ...], float]
"""Label values in the family's order, and the value."""
Source = Callable[[], Iterable[Sample]]


_COLLECTOR: Final = {
    "python_gc_collections": "collections",
    "python_gc_objects_collected": "collected",
    "python_gc_objects_uncollectable": "uncollectable",
}


def _collected(key: str) -> list[Sample]:
    """Return a statistic of the garbage collector by generation."""
    return [((str(n),), one[key]) for n, one in enumerate(gc.get_stats())]


class _Histogram:
    """Observations in buckets that are not cumulative yet."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class _Cell:
    """The three histograms of one (rule, method, status class)."""

    __slots__ = ("overhead", "request", "upstream")

    def __init__(self) -> None:
        self.request = _Histogram(DURATION)
        self.upstream = _Histogram(DURATION)
        self.overhead = _Histogram(OVERHEAD)

    def histograms(self) -> tuple[_Histogram, _Histogram, _Histogram]:
        """Return them in the order of the table."""
        return self.request, self.upstream, self.overhead


class Metrics:
    """Notes what happened, for whoever scrapes.

    Args:
        now: epoch seconds.
        version: of the proxy.
        max_series: cells of one family; what comes after them is counted as "other".
        max_active: subjects that are remembered, of all minutes together.

    Attributes:
        people: who was there.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float],
        version: str,
        max_series: int = MAX_SERIES,
        max_active: int = MAX_ACTIVE,
    ) -> None:
        self._max_series = max_series
        self.people = People(now, max_active)
        self._now = now
        self._cells: dict[tuple[str, str, int], _Cell] = {}
        self._stages = [_Histogram(STAGE) for _ in STAGES]
        self._decisions: dict[tuple[str, str, str], int] = {}
        self._counts: dict[str, dict[tuple[str, ...], int]] = {
            name: {} if labels else {(): 0} for name, (_, labels) in COUNTERS.items()
        }
        self._sources: dict[str, Source] = {
            "lumina_system_cpu_usage": lambda: [((), psutil.cpu_percent(None))],
            "lumina_system_memory_usage": lambda: [
                ((), psutil.virtual_memory().percent)
            ],
            "lumina_active_users": lambda: [((), float(self.people.active()))],
            "lumina_workers": lambda: [((), 1.0)],
            "lumina_build_info": lambda: [((version,), 1.0)],
        }
        self._reloaded: dict[str, list[Sample]] = {}
        psutil.cpu_percent(None)  # the first call has nothing to compare with
        for name, key in _COLLECTOR.items():
            self._sources[name] = functools.partial(_collected, key)

    # -- what the data path calls

    def record(self, exchange: Exchange) -> None:
        """Note one request that is over."""
        rule = exchange.rule
        key = (rule, exchange.method, exchange.status // 100)
        cell = self._cells.get(key) or self._new_cell(key)
        total = exchange.ended - exchange.started
        upstream = exchange.upstream_seconds
        cell.request.observe(total)
        if exchange.upstream_started:
            cell.upstream.observe(upstream)
        cell.overhead.observe(total - upstream if total > upstream else 0.0)
        self._note_stages(exchange)
        reason = exchange.reason
        decision = (rule, exchange.role, "served" if reason is None else reason.slug)
        decisions = self._decisions
        so_far = decisions.get(decision, 0)
        if not so_far and len(decisions) >= self._max_series:
            decision = ("other", "other", decision[2])
            so_far = decisions.get(decision, 0)
        decisions[decision] = so_far + 1
        if exchange.shadow is not None:
            refused = (rule, exchange.role, exchange.shadow.slug)
            self._add("lumina_shadow_refusals", refused)
        if exchange.pressed is not None:
            self._note_pressed(exchange.pressed, exchange.role)
        if exchange.subject:
            self.people.note(exchange.subject)
        if exchange.aborted:
            self._add("lumina_aborted", (rule,))
        elif (
            exchange.counter is not None
            and reason is None
            and exchange.status // 100 == _SUCCESSFUL
        ):
            self.count(exchange.counter)

    def _note_stages(self, exchange: Exchange) -> None:
        """Note the stages that a request passed."""
        decide, take, encrypt, answer = self._stages
        seconds = exchange.decide_seconds
        if seconds is None:
            return  # nor any other
        decide.observe(seconds)
        if (seconds := exchange.take_seconds) is not None:
            take.observe(seconds)
        if (seconds := exchange.encrypt_seconds) is not None:
            encrypt.observe(seconds)
        if (seconds := exchange.answer_seconds) is not None:
            answer.observe(seconds)

    def _note_pressed(self, pressed: list[tuple[str, str]], role: str) -> None:
        for limit, how in pressed:
            if how == NEAR:
                self._add("lumina_limits_near", (limit, role))
            else:
                mode = "enforce" if how == OVER else "shadow"
                self._add("lumina_limits_over", (limit, role, mode))

    def count(self, name: str) -> None:
        """Add one to a counter of the policy, named with its ``_total``."""
        self._add(name.removesuffix("_total"), ())

    def cipher(self, field: str, operation: str, outcome: str, key: str) -> None:
        """Note one protected leaf."""
        self._add("lumina_cipher_operations", (field, operation, outcome, key))

    def encryptions(self) -> dict[int, int]:
        """Return how many values were encrypted under each key so far."""
        sums: dict[int, int] = {}
        for labels, n in self._counts["lumina_cipher_operations"].items():
            _, operation, outcome, key = labels
            if operation == "encrypt" and outcome == "ok" and key != "other":
                sums[int(key, 16)] = sums.get(int(key, 16), 0) + n
        return sums

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
        if name not in COUNTERS and name not in GAUGES:
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

    def parts(self) -> Iterator[Part]:
        """Yield everything that is shown, in parts that are quickly made.

        What is recorded between two of them is in the later ones only, but no part
        shows half of a request.
        """
        stages: list[HistogramRow] = [
            ("lumina_stage_duration_seconds", [name], list(one.counts), one.total)
            for name, one in zip(STAGES, self._stages, strict=True)
        ]
        yield self._values(), stages
        cells = list(self._cells.items())
        for at in range(0, len(cells), _CELLS_AT_ONCE):
            rows: list[HistogramRow] = []
            for (rule, method, status), cell in cells[at : at + _CELLS_AT_ONCE]:
                labels = [rule, method, f"{status}xx" if status else "none"]
                for name, one in zip(_OF_A_CELL, cell.histograms(), strict=True):
                    rows.append((name, labels, list(one.counts), one.total))
            yield [], rows

    def _values(self) -> list[ValueRow]:
        rows: list[ValueRow] = []
        for name, counts in self._counts.items():
            source = self._sources.get(name)
            for labels, value in source() if source else counts.items():
                rows.append((name, list(labels), value))
        for decision, value in self._decisions.items():
            rows.append(("lumina_decisions", list(decision), value))
        for name in GAUGES:
            source = self._sources.get(name)
            for labels, value in source() if source else self._reloaded.get(name, ()):
                rows.append((name, list(labels), value))
        return rows

    def numbers(self) -> Numbers:
        """Return everything that is shown."""
        numbers = Numbers()
        for values, histograms in self.parts():
            numbers.add(values, histograms)
        return numbers
