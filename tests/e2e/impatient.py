"""``python -m tests.e2e.impatient``: ``lumina-proxy serve`` with short patience.

The same program with smaller numbers, so that a test need not wait for ten seconds or
open a thousand connections, and with one bug: taking from a limit named ``bug`` raises.
"""

from collections.abc import Awaitable, Sequence
from typing import Any

from proxy import app, serving
from proxy.__main__ import main
from proxy.core.backends import Breaker
from proxy.core.bucket import Grant
from proxy.core.limits import Take
from proxy.edge.bucket_store import MemoryStore
from proxy.edge.limits import WireLimits
from proxy.edge.redis_store import SharedStore
from proxy.ports import Snapshot

LIMITS = WireLimits(head_seconds=0.2, linger_seconds=0.2)


class BuggyStore:
    """A store with a bug; everything else of it is another's."""

    def __init__(self, store: MemoryStore | SharedStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def take(self, takes: Sequence[Take]) -> Awaitable[list[Grant]]:
        """Take, or raise what nobody expects."""
        if any(take.id == "bug" for take in takes):
            raise RuntimeError("a bug")
        return self._store.take(takes)


class ImpatientServing(serving.Serving):
    """One connection to each server, and nobody waits for it."""

    def _make_store(self) -> Any:
        return BuggyStore(super()._make_store())

    def _apply(self, snapshot: Snapshot) -> None:
        super()._apply(snapshot)
        for _, pool in self._upstreams._pools():
            pool.breaker = Breaker(connections=1, pending=0)


if __name__ == "__main__":
    vars(serving)["WireLimits"] = lambda: LIMITS
    vars(app)["Serving"] = ImpatientServing
    main(["serve"])
