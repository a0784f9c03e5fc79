"""Who is told of every request that is over: numbers of all, and names of refusals."""

from proxy.core.exchange import Exchange
from proxy.edge.metrics import Metrics
from proxy.edge.refusals import Refusals


class Observers:
    """Tells everybody who observes.

    Args:
        metrics: counts.
        refusals: remembers.
    """

    def __init__(self, metrics: Metrics, refusals: Refusals) -> None:
        self._metrics = metrics
        self._refusals = refusals

    def record(self, exchange: Exchange) -> None:
        """Note one request that is over."""
        self._metrics.record(exchange)
        if exchange.reason is not None or exchange.shadow is not None:
            self._refusals.note(exchange)

    def cipher(self, field: str, operation: str, outcome: str, key: str) -> None:
        """Note one protected leaf."""
        self._metrics.cipher(field, operation, outcome, key)

    def failed(self, error: BaseException, exchange: Exchange) -> None:
        """Note a bug of ours."""
        self._metrics.failed(error, exchange)
