"""The access log: which requests are logged, and where their lines go."""

from collections.abc import Callable, Mapping

from proxy.core.access_line import Line
from proxy.core.exchange import Exchange
from proxy.edge.log_sink import LogSink


class AccessLog:
    """Logs requests that are over.

    Args:
        sink: takes the lines.
        wall: epoch seconds.
        line: writes a line; another one after a reload.

    Attributes:
        samples: of each rule, by its id, the share of served requests that is logged,
            from 0 to 1; all of a rule that is not in here. What was refused, failed or
            would have been refused is always logged.
    """

    def __init__(self, sink: LogSink, wall: Callable[[], float], line: Line) -> None:
        self.samples: Mapping[str, float] = {}
        self.line = line
        self._sink = sink
        self._wall = wall
        self._due: dict[str, float] = {}

    @property
    def dropped(self) -> int:
        """Lines that were never written."""
        return self._sink.dropped + self._sink.failed

    def note(self, exchange: Exchange) -> None:
        """Log a request, if it is its turn."""
        if self.samples and not self._is_due(exchange):
            return
        self._sink.write(self.line(exchange, self._wall()))

    def _is_due(self, exchange: Exchange) -> bool:
        share = self.samples.get(exchange.rule, 1.0)
        if share >= 1.0 or exchange.reason or exchange.shadow or exchange.aborted:
            return True
        # Evenly, and not by chance: one of ten is the tenth, the twentieth and so on.
        due = self._due.get(exchange.rule, 0.0) + share
        self._due[exchange.rule] = due % 1.0
        return due >= 1.0
