"""What metrics are between being recorded and being shown: rows, which can be added up.

A process hands its rows to whoever shows them: itself, or its supervisor, which shows
the sum of several.
"""

from proxy.edge.families import COUNTERS, GAUGES, combined

ValueRow = tuple[str, list[str], float]
"""A counter or gauge: its family, label values in the family's order, its value."""
HistogramRow = tuple[str, list[str], list[int], float]
"""A histogram: family, label values, observations in each bucket, their sum."""
Part = tuple[list[ValueRow], list[HistogramRow]]

Labels = tuple[str, ...]


class Numbers:
    """Everything that one process, or several, would show.

    Attributes:
        values: of counters and gauges, by family and labels; a family without any
            value may be missing.
        histograms: observations in each bucket (not cumulative) and their sum.
    """

    def __init__(self) -> None:
        self.values: dict[str, dict[Labels, float]] = {}
        self.histograms: dict[str, dict[Labels, tuple[list[int], float]]] = {}

    def add(self, values: list[ValueRow], histograms: list[HistogramRow]) -> None:
        """Add rows of a process whose other rows may be here already."""
        for name, labels, value in values:
            self._add_value(name, tuple(labels), value)
        for name, labels, counts, total in histograms:
            self._add_histogram(name, tuple(labels), counts, total)

    def add_all(self, other: "Numbers") -> None:
        """Add what another process shows."""
        for name, family in other.values.items():
            for labels, value in family.items():
                self._add_value(name, labels, value)
        for name, histograms in other.histograms.items():
            for labels, (counts, total) in histograms.items():
                self._add_histogram(name, labels, counts, total)

    def _add_value(self, name: str, labels: Labels, value: float) -> None:
        family = self.values.setdefault(name, {})
        known = family.get(labels)
        family[labels] = value if known is None else combined(name, known, value)

    def _add_histogram(
        self, name: str, labels: Labels, counts: list[int], total: float
    ) -> None:
        family = self.histograms.setdefault(name, {})
        known = family.get(labels)
        if known is None:
            family[labels] = list(counts), total
        else:
            added = [one + other for one, other in zip(known[0], counts, strict=True)]
            family[labels] = added, known[1] + total

    def counted(self) -> "Numbers":
        """Return what stays when the process is gone: all but gauges."""
        kept = Numbers()
        kept.add_all(self)
        for name in GAUGES:
            kept.values.pop(name, None)
        return kept

    @property
    def counters(self) -> list[str]:
        """The names of all counters, those of policies after those of the table."""
        theirs = self.values.keys() - COUNTERS.keys() - GAUGES.keys()
        return [*COUNTERS, *sorted(theirs)]
