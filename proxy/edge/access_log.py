"""The access log: which requests are logged, and where their lines go."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from proxy.core.access_line import USUAL_KEYS, Line
from proxy.core.exchange import Exchange
from proxy.core.policy import Policy
from proxy.edge.log_sink import LogSink

_WHOLE: Final = 1.0 - 1e-9
"""Ten tenths, as floats add up."""


class AccessLog:
    """Logs requests that are over.

    Args:
        sink: takes the lines.
        wall: epoch seconds.
        style: makes what writes a line, of its keys.

    What was refused, broke off or would have been refused is always logged; of what was
    served, the share that its rule says.
    """

    def __init__(
        self,
        sink: LogSink,
        wall: Callable[[], float],
        style: Callable[[Sequence[str]], Line],
    ) -> None:
        self._sink = sink
        self._wall = wall
        self._style = style
        self._line = style(USUAL_KEYS)
        self._shares: Mapping[str, float] = {}
        self._due: dict[str, float] = {}

    def configure(self, policy: Policy) -> None:
        """Follow a policy that is in force from now on."""
        self._line = self._style(policy.logging.keys)
        self._shares = {
            rule.id: rule.observed.share
            for rule in policy.rules
            if rule.observed.share < 1.0
        }
        self._due.clear()

    @property
    def dropped(self) -> int:
        """Lines that were never written."""
        return self._sink.dropped + self._sink.failed

    def note(self, exchange: Exchange) -> None:
        """Log a request, if it is its turn."""
        if self._shares and not self._is_due(exchange):
            return
        self._sink.write(self._line(exchange, self._wall()))

    def _is_due(self, exchange: Exchange) -> bool:
        share = self._shares.get(exchange.rule, 1.0)
        if share >= 1.0 or exchange.reason or exchange.shadow or exchange.aborted:
            return True
        # Evenly, and not by chance: one of ten is the tenth, the twentieth and so on.
        due = self._due.get(exchange.rule, 0.0) + share
        logged = due >= _WHOLE
        self._due[exchange.rule] = due - 1.0 if logged else due
        return logged
