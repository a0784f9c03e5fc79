"""``python -m tests.e2e.impatient``: ``lumina-proxy serve`` with short patience.

The same program with smaller numbers, so that a test need not wait for ten seconds or
open a thousand connections, and with one bug: taking from a limit named ``bug`` raises.
"""

import functools
from collections.abc import Sequence

from proxy import app
from proxy.__main__ import main
from proxy.core.bucket import Grant
from proxy.core.limits import Take
from proxy.edge import pool
from proxy.edge.bucket_store import MemoryStore
from proxy.edge.limits import WireLimits


class BuggyStore(MemoryStore):
    """A store with a bug."""

    def take_now(self, takes: Sequence[Take], cost: int = 1) -> list[Grant]:
        """Take, or raise what nobody expects."""
        if any(take.id == "bug" for take in takes):
            raise RuntimeError("a bug")
        return super().take_now(takes, cost)


if __name__ == "__main__":
    limits = WireLimits(head_seconds=0.2, linger_seconds=0.2)
    vars(app).update(WireLimits=lambda: limits, MemoryStore=BuggyStore)
    vars(pool)["Pool"] = functools.partial(pool.Pool, max_connections=1, max_waiting=0)
    main(["serve"])
