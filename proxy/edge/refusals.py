"""The last refusals of this process, by the id that the client was given.

So that "why was I refused?" has an answer for as long as people still remember asking.
Kept in memory, bounded, and read over the metrics port, which asks for its token. What
is told has no subject, no address, no query and no value of the request; a path it has.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from proxy.core.exchange import Exchange
from proxy.core.stages import stage_of

KEPT: Final = 10_000
"""Some megabytes of them."""


class Refusals:
    """Remembers refusals, those that shadow mode only noted among them.

    Args:
        now: epoch seconds.
        kept: how many; the oldest are forgotten.
    """

    def __init__(self, now: Callable[[], float], kept: int = KEPT) -> None:
        self._now = now
        self._kept = kept
        self._order: deque[str] = deque()
        self._known: dict[str, tuple[float, Exchange]] = {}

    def note(self, exchange: Exchange) -> None:
        """Remember a request that is over, if it was or would have been refused."""
        if exchange.reason is None and exchange.shadow is None:
            return
        name = exchange.request_id
        if not name:  # its connection was broken off, and nobody was told an id
            return
        if name not in self._known:
            if len(self._order) >= self._kept:
                del self._known[self._order.popleft()]
            self._order.append(name)
        self._known[name] = self._now(), exchange

    def find(self, request_id: str) -> Mapping[str, object] | None:
        """Return what is known of a refusal; None for nothing (any more)."""
        found = self._known.get(request_id)
        if found is None:
            return None
        at, exchange = found
        reason = exchange.reason or exchange.shadow
        return (
            None
            if reason is None
            else {
                "request_id": request_id,
                "ts": at,
                "method": exchange.method,
                "path": exchange.path,
                "status": exchange.status,
                "stage": stage_of(reason).value,
                "reason": reason.slug,
                "detail": exchange.detail,
                "rule": exchange.rule,
                "role": exchange.role,
                "shadow": exchange.reason is None,
                "policy": exchange.policy,
            }
        )
