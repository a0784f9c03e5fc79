"""What operators tell a running proxy over the metrics port, and who does it.

Each order is done by every process that serves, whichever of them was asked: one
process does it itself, a supervisor has its workers do it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from proxy.edge.control import Declined
from proxy.edge.worker_process import Lost, WorkerProcess, ask_all

REFRESH_KEYS = "/keys/refresh"
RESET_LIMITS = "/limits/reset"
GRANT_LIMITS = "/limits/grant"
PRESSED = "/limits"
"""Where it is asked who is near a limit, or over it."""

ORDERS = (REFRESH_KEYS,)
"""The paths of orders that each process does for itself."""

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


def relayed_once(path: str, workers: Callable[[], Sequence[WorkerProcess]]) -> Order:
    """Return what has one worker change limits that all share.

    The others are told what was changed ``elsewhere``, or have it to do themselves
    where each keeps limits of its own.
    """

    async def order(told: Mapping[str, Any]) -> Mapping[str, object]:
        for number, worker in enumerate(workers()):
            try:
                done = await worker.ask("order", [path, dict(told)], seconds=_DOING)
            except Declined as declined:
                raise ValueError(str(declined)) from None
            except Lost:
                continue
            again = {**told, "elsewhere": done["shared"]}
            await ask_all(workers()[number + 1 :], "order", [path, again], _DOING)
            answer: Mapping[str, object] = done
            return answer
        raise ValueError("No process of the proxy answers")

    return order


def pressed_of(parts: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, object]:
    """Return who is near a limit or over it, of several processes' tables."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for part in parts:
        for row in part:
            key = row["owner"], row["limit"]
            known = rows.get(key)
            if known is None:
                rows[key] = dict(row)
                continue
            latest = row if row["ago"] < known["ago"] else known
            counts = {name: known[name] + row[name] for name in ("near", "over")}
            rows[key] = {**latest, **counts}
    ranked = sorted(rows.values(), key=lambda row: (-row["over"], -row["near"]))
    return {"pressed": ranked}


def relays(workers: Callable[[], Sequence[WorkerProcess]]) -> dict[str, Order]:
    """Return what has workers do each order, by its path."""
    once = (RESET_LIMITS, GRANT_LIMITS)
    return {
        **{path: relayed(path, workers) for path in ORDERS},
        **{path: relayed_once(path, workers) for path in once},
    }


def combined(done: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """Return one answer for several processes: where they differ, what is not "ok"."""
    issuers: dict[str, str] = {}
    for one in done:
        for name, outcome in one["issuers"].items():
            if issuers.get(name, "ok") == "ok":
                issuers[name] = outcome
    return {"issuers": issuers}
