"""What operators tell and ask a running proxy over the metrics port.

One process does it itself. A supervisor has its workers do it: every one what each has
for itself, and any one what they share.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from proxy.edge.control import Declined
from proxy.edge.worker_process import Lost, WorkerProcess, ask_all

REFRESH_KEYS: Final = "/keys/refresh"
REVOKE: Final = "/revocations"
RESTORE: Final = "/revocations/restore"
REVOCATIONS: Final = "/revocations"

RESET_LIMITS: Final = "/limits/reset"
GRANT_LIMITS: Final = "/limits/grant"
PRESSED: Final = "/limits"

ORDERS: Final = (REFRESH_KEYS, REVOKE, RESTORE, RESET_LIMITS, GRANT_LIMITS)
QUESTIONS: Final = (REVOCATIONS, PRESSED)
"""The paths of all orders and questions."""

Order = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, object]]]
"""Does what it is told; raises ValueError with a sentence for people."""
Question = Callable[[], Awaitable[Mapping[str, object]]]
Workers = Callable[[], Sequence[WorkerProcess]]

_DOING: Final = 15.0
"""Seconds for a worker to do as it is told."""


def relayed(path: str, workers: Workers) -> Order:
    """Return what has workers do an order."""
    if path in (RESET_LIMITS, GRANT_LIMITS):
        return relayed_once(path, workers)

    async def order(told: Mapping[str, Any]) -> Mapping[str, object]:
        asked = workers() if path == REFRESH_KEYS else workers()[:1]
        return _combined(await _done(asked, "order", [path, dict(told)]))

    return order


def relayed_once(path: str, workers: Workers) -> Order:
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


def asked(path: str, workers: Workers) -> Question:
    """Return what has workers answer a question."""

    async def question() -> Mapping[str, object]:
        if path == PRESSED:
            return pressed_of(await _done(workers(), "question", path))
        return (await _done(workers()[:1], "question", path))[0]

    return question


async def _done(
    workers: Sequence[WorkerProcess], what: str, argument: object
) -> list[Mapping[str, Any]]:
    """Return the answers of workers.

    Raises:
        ValueError: one of them declined, or none of them answered.
    """
    answers = await ask_all(workers, what, argument, _DOING)
    declined = [str(one) for one in answers if isinstance(one, Declined)]
    if declined:
        raise ValueError(declined[0])
    done = [one for one in answers if not isinstance(one, BaseException)]
    if not done:
        raise ValueError("No process of the proxy answers")
    return done


def pressed_of(parts: Sequence[Mapping[str, Any]]) -> Mapping[str, object]:
    """Return who is near a limit or over it, of several processes' tables."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for part in parts:
        for row in part["pressed"]:
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


def _combined(done: Sequence[Mapping[str, Any]]) -> Mapping[str, object]:
    """Return one answer for several processes: where they differ, what is not "ok"."""
    if len(done) == 1:
        return done[0]
    issuers: dict[str, str] = {}
    for one in done:
        for name, outcome in one["issuers"].items():
            if issuers.get(name, "ok") == "ok":
                issuers[name] = outcome
    return {"issuers": issuers}
