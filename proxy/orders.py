"""What operators tell a running proxy over the metrics port, and who does it.

Each order is done by every process that serves, whichever of them was asked: one
process does it itself, a supervisor has its workers do it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from proxy.edge.control import Declined
from proxy.edge.worker_process import WorkerProcess, ask_all

REFRESH_KEYS = "/keys/refresh"
ORDERS = (REFRESH_KEYS,)
"""The paths of all orders."""

Order = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, object]]]
"""Does what it is told; raises ValueError with a sentence for people."""

_DOING = 15.0
"""Seconds for a worker to do as it is told."""


def relayed(path: str, workers: Callable[[], Sequence[WorkerProcess]]) -> Order:
    """Return what has every worker do an order."""

    async def order(told: Mapping[str, Any]) -> Mapping[str, object]:
        answers = await ask_all(workers(), "order", [path, dict(told)], _DOING)
        declined = [str(one) for one in answers if isinstance(one, Declined)]
        if declined:
            raise ValueError(declined[0])
        done = [one for one in answers if not isinstance(one, BaseException)]
        if not done:
            raise ValueError("No process of the proxy answers")
        return combined(done)

    return order


def combined(done: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """Return one answer for several processes: where they differ, what is not "ok"."""
    issuers: dict[str, str] = {}
    for one in done:
        for name, outcome in one["issuers"].items():
            if issuers.get(name, "ok") == "ok":
                issuers[name] = outcome
    return {"issuers": issuers}
