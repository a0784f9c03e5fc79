"""All workers together: what each is asked, and what their answers come to."""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prometheus_client import PlatformCollector

from proxy.core.learning import added
from proxy.edge.control import Declined, Lost
from proxy.edge.exposition import expose
from proxy.edge.families import SAME
from proxy.edge.metrics import Metrics
from proxy.edge.totals import Processes, Totals
from proxy.edge.worker_process import WorkerProcess, ask_all

log = logging.getLogger("lumina")

ANSWERING = 2.0
"""Seconds for a worker to answer what it knows."""
_PULLED_EVERY = 1.0
"""Seconds between two looks at the numbers: what a worker that is killed has counted
since the last one is lost."""
_SILENCE = 30.0
"""Seconds after which a worker that does not answer is replaced."""

_OURS = SAME | {
    "lumina_active_users",
    "lumina_policy_last_reload_success",
    "lumina_worker_restarts",
}
"""Families that the supervisor knows better than any worker."""


class Crew:
    """The workers, as operators see them.

    Args:
        workers: returns those that there are.
        metrics: what the supervisor itself counts.
    """

    def __init__(
        self, workers: Callable[[], Sequence[WorkerProcess]], metrics: Metrics
    ) -> None:
        self._workers = workers
        self._metrics = metrics
        self._totals = Totals()
        self._processes = Processes(os.getpid())
        self._others = (self._processes, PlatformCollector(registry=None))
        self._pull_lock = asyncio.Lock()

    def changed(self) -> None:
        """Note that there are others than before."""
        self._processes.configure(one.pid for one in self._workers())

    def lose(self, pid: int) -> None:
        """Keep what a worker had counted that has ended."""
        self._totals.lose(pid)

    async def ask(
        self,
        workers: Sequence[WorkerProcess],
        what: str,
        argument: object,
        seconds: float,
    ) -> list[WorkerProcess]:
        """Return the workers that answered, and end those that did not.

        Raises:
            Declined: one of them said no; none was ended.
        """
        answers = await ask_all(workers, what, argument, seconds)
        for answer in answers:
            if isinstance(answer, Declined):
                raise answer
        return end_failed(workers, answers)

    # -- numbers

    async def pull_often(self) -> None:
        """Look at the numbers again and again; end who does not answer for long."""
        while True:
            await asyncio.sleep(_PULLED_EVERY)
            await self._pull()
            now = asyncio.get_running_loop().time()
            for worker in self._workers():
                if now - worker.heard > _SILENCE:
                    log.error("worker %d is ended: it does not answer", worker.pid)
                    worker.kill()

    async def _pull(self) -> None:
        """Look at the numbers of every worker that answers."""
        async with self._pull_lock:
            await asyncio.gather(*(self._pull_one(one) for one in self._workers()))

    async def _pull_one(self, worker: WorkerProcess) -> None:
        try:
            numbers, seen = await worker.numbers(ANSWERING)
        except Lost:
            return  # its last numbers count until it is replaced
        self._metrics.people.take_over(seen)
        if worker in self._workers():
            self._totals.update(worker.pid, numbers)

    async def expose(self, accept: str) -> tuple[bytes, str]:
        """Show the sum; see ``AdminPorts``."""
        await self._pull()
        total, own = self._totals.numbers(), self._metrics.numbers()
        for name in _OURS:
            total.values[name] = own.values.get(name, {})
        return expose(total, accept, self._others)

    # -- what operators ask

    async def ready(self) -> tuple[int, dict[str, str]]:
        """Return how many serve, and the words of all for each check."""
        answers = await ask_all(self._workers(), "ready", None, ANSWERING)
        told = [answer for answer in answers if not isinstance(answer, BaseException)]
        names = dict.fromkeys(name for _, words in told for name in words)
        return sum(ready for ready, _ in told), {
            name: ", ".join(sorted({words[name] for _, words in told}))
            for name in names
        }

    async def limits(
        self, who: str, rule: str, role: str | None, given: Mapping[str, str]
    ) -> Mapping[str, object]:
        """Ask the first worker that answers: all look at the same buckets."""
        for worker in self._workers():
            try:
                status: Mapping[str, object] = await worker.ask(
                    "limits", (who, rule, role, dict(given)), seconds=ANSWERING
                )
            except Declined as declined:
                raise KeyError(str(declined)) from None
            except Lost:
                continue
            return status
        raise Lost("no worker answers")

    async def refusal(self, request_id: str) -> Mapping[str, object] | None:
        """Ask every worker: one of them refused it."""
        answers = await ask_all(self._workers(), "refusal", request_id, ANSWERING)
        found = (one for one in answers if one and not isinstance(one, BaseException))
        return next(found, None)

    async def learned(self) -> Mapping[str, object] | None:
        """Add up what every worker has learned."""
        answers = await ask_all(self._workers(), "learned", None, ANSWERING)
        return added(one for one in answers if isinstance(one, dict))


def end_failed(
    workers: Sequence[WorkerProcess], answers: Sequence[Any]
) -> list[WorkerProcess]:
    """Return the workers that answered, and end the others."""
    answered = []
    for worker, answer in zip(workers, answers, strict=True):
        if isinstance(answer, BaseException):
            log.error("worker %d is ended: %s", worker.pid, answer)
            worker.kill()
        else:
            answered.append(worker)
    return answered
