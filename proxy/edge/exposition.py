"""Numbers in the formats that Prometheus reads: prometheus-client writes them."""

import re
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from proxy.edge.families import COUNTERS, GAUGES, HISTOGRAMS
from proxy.edge.numbers import Numbers

_VERSION = re.compile(r";\s*version\s*=\s*([^;\s]*)")
_VERSIONS = ("0.0.4", "1.0.0")
"""Of the text format and of OpenMetrics: those that Prometheus asks for."""


def expose(
    numbers: Numbers, accept: str, others: Iterable[Collector] = ()
) -> tuple[bytes, str]:
    """Return (body, content type) in the format that an Accept value asks for.

    Where it asks for nothing that we write, that is the Prometheus text format.

    Args:
        numbers: what is shown.
        accept: the field's value.
        others: collectors of families that are none of ours.
    """
    registry = CollectorRegistry()
    registry.register(_Families(numbers))
    for other in others:
        registry.register(other)
    # choose_encoder promises whatever version it is asked for, or fails at it.
    known = (
        element
        for element in accept.split(",")
        if all(one in _VERSIONS for one in _VERSION.findall(element))
    )
    encode, content_type = choose_encoder(",".join(known))
    return encode(registry), content_type


class _Families(Collector):
    """Every family of the table, and the policy's own counters."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def collect(self) -> Iterator[Metric]:
        yield from self._histograms()
        values = self._numbers.values
        for name in self._numbers.counters:
            text, labels = COUNTERS.get(name, ("A counter of the policy.", ()))
            counter = CounterMetricFamily(name, text, labels=labels)
            for key, value in values.get(name, {}).items():
                counter.add_metric(list(key), value)
            yield counter
        for name, (text, labels) in GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=labels)
            for key, value in values.get(name, {}).items():
                gauge.add_metric(list(key), value)
            yield gauge

    def _histograms(self) -> Iterator[Metric]:
        for name, (text, bounds, labels) in HISTOGRAMS.items():
            family = HistogramMetricFamily(name, text, labels=labels)
            histograms = self._numbers.histograms.get(name, {})
            for key, (counts, total) in histograms.items():
                family.add_metric(
                    list(key), _cumulative(bounds, counts), sum_value=total
                )
            yield family


def _cumulative(
    bounds: tuple[float, ...], counts: list[int]
) -> list[tuple[str, float]]:
    """Return (upper bound, how many are not above it), the last bound infinite."""
    running, rows = 0, []
    for bound, count in zip((*bounds, "+Inf"), counts, strict=True):
        running += count
        rows.append((str(bound), float(running)))
    return rows
