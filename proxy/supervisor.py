"""A proxy of several processes: workers that serve, and who looks after them: this one.

Rules of this file:

1. The supervisor reads policy and secrets, and every worker gets the same text. A new
   policy comes into force on all of them or on none.
2. The listening sockets are the supervisor's: each worker has one of its own to accept
   at (SO_REUSEPORT), and connections that wait there when it dies are its successor's.
3. A worker that died is replaced, at once or, when its predecessors died young, after
   a while; meanwhile the other workers get its connections.
4. The metrics port is here, so that nobody's request waits for a scrape.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from typing import Any

from proxy import __version__
from proxy.core.errors import PolicyError
from proxy.core.listeners import DEFAULT_LISTENER, Listener
from proxy.crew import ANSWERING, Crew, end_failed
from proxy.data_keys import DataKeys
from proxy.edge.admin import Admin, AdminPorts
from proxy.edge.control import Declined, Lost
from proxy.edge.metrics import Metrics
from proxy.edge.policy_watch import PolicyWatch
from proxy.edge.worker_process import WorkerProcess, ask_all
from proxy.orders import ORDERS, QUESTIONS, asked, relayed
from proxy.settings import Recorded, Settings
from proxy.signals import Signals
from proxy.slots import Slot
from proxy.snapshots import snapshot_of, source_of
from proxy.starting import (
    StartError,
    bind_for,
    found,
    listening_at,
    log_places,
    places_of,
    refuse_moves,
)

log = logging.getLogger("lumina")

_COMPILING = 120.0
"""Seconds for a worker to compile a policy; a large one takes a few."""
_PATIENCE = 10.0
"""Seconds after which a worker that does not answer is in the way of a reload."""
_SLACK = 10.0
"""Seconds that workers get for their end, beside those that the settings say."""


class Supervisor:
    """A proxy of several processes.

    Args:
        settings: what the process is told; read from ``environment``.
        environment: what ``${NAME}`` of a policy stands for, and where a reload finds
            the keys.
    """

    def __init__(self, settings: Settings, environment: Recorded) -> None:
        self._settings = settings
        self._environment = environment
        self._source = source_of(settings, environment)
        self._metrics = Metrics(now=time.time, version=__version__)
        self._metrics.watch("lumina_policy_pinned", self._source.pinned_sample)
        # To see whether a policy fits them; the workers have their own.
        self._keys = DataKeys(environment)
        self._crew = Crew(lambda: self._workers, self._metrics)
        self._signals = Signals(self._reload)
        self._watch = PolicyWatch(
            self._source, self._signals.reload, settings.policy_poll
        )
        self._slots: list[Slot] = []
        self._given: dict[str, object] = {}
        self._listeners: Mapping[str, Listener] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # Who begins has the policy that is in force when it is done.
        self._policy_lock = asyncio.Lock()
        self._draining = False
        ports = AdminPorts(
            metrics=self._crew.expose,
            ready=self._ready,
            policy=self._source.state,
            limits=self._crew.limits,
            commands={path: relayed(path, self._all_workers) for path in ORDERS},
            queries={path: asked(path, self._all_workers) for path in QUESTIONS},
            refusal=self._crew.refusal,
            learned=self._crew.learned,
        )
        self._admin = Admin(ports, settings.metrics_token)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then let the workers drain.

        Raises:
            PolicyError: the policy has errors.
            StartError: a key or an address is not to be had, or no worker starts.
        """
        await self._keys.open()
        loaded = self._source.load()
        snapshot_of(loaded.policy, self._environment, self._keys)
        self._given, self._listeners = self._gift(loaded.files), loaded.policy.listeners
        self._source.put_in_force(loaded)
        self._metrics.policy_loaded(loaded.policy.digest)
        self._source.keep()
        try:
            self._signals.heed()
            self._watch.start()
            await self._start()
            await self._signals.told.wait()
            await self._drain()
        finally:
            await self._stop()

    # -- start and end

    async def _start(self) -> None:
        metrics = self._settings.metrics_listen
        places = places_of(self._settings, self._listeners)
        with listening_at(metrics):
            await self._admin.start(metrics.host, metrics.port)
        bound = bind_for(places, self._settings.workers)
        places = found(places, bound[0])
        self._slots = [Slot(places, sockets) for sockets in bound]
        begun = [asyncio.ensure_future(self._begin(slot)) for slot in self._slots]
        try:
            await asyncio.gather(*begun)
        except (Declined, Lost, OSError) as error:
            raise StartError(str(error)) from None
        finally:
            await asyncio.wait(begun)
        for slot in self._slots:
            self._do(self._keep(slot))
        self._do(self._crew.pull_often())
        log_places(places)
        log.info(
            "listening on %s, metrics on %s:%d, policy %s, %d workers",
            *(places[DEFAULT_LISTENER], metrics.host, self._admin.port),
            *(self._source.state()["digest"], len(self._slots)),
        )

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)

    async def _drain(self) -> None:
        """Tell the workers to leave, and wait until they have."""
        self._draining = True
        log.info("draining")
        # The workers' own descriptors keep the ports open until they have drained.
        for slot in self._slots:
            slot.close()
        await ask_all(self._workers, "drain", None, ANSWERING)
        again = asyncio.ensure_future(self._signals.again.wait())
        ended = asyncio.ensure_future(self._ended())
        longest = self._settings.drain_grace + self._settings.drain_timeout + _SLACK
        await asyncio.wait(
            (again, ended), timeout=longest, return_when=asyncio.FIRST_COMPLETED
        )
        if not ended.done():
            await ask_all(self._workers, "hurry", None, ANSWERING)
            await asyncio.wait((ended,), timeout=_SLACK)
        for task in (again, ended):
            task.cancel()
        await asyncio.gather(again, ended, return_exceptions=True)

    async def _ended(self) -> None:
        await asyncio.gather(*(worker.ended() for worker in self._workers))

    async def _stop(self) -> None:
        self._draining = True
        await self._watch.stop()
        await self._signals.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for slot in self._slots:
            slot.close()
        for worker in self._workers:
            worker.kill()
        await self._ended()
        await self._admin.stop()
        await self._keys.close()
        log.info("stopped")

    # -- workers

    @property
    def _workers(self) -> list[WorkerProcess]:
        return [slot.worker for slot in self._slots if slot.worker is not None]

    def _all_workers(self) -> list[WorkerProcess]:
        return self._workers

    async def _begin(self, slot: Slot) -> None:
        """Have a worker serve in a slot.

        Raises:
            Declined: it does not start; the message says why.
            Lost: it ended, or does not answer.
            OSError: the machine has no room for it, or the slot has no port any more.
        """
        slot.open()
        worker = await WorkerProcess.spawn(slot.sockets)
        try:
            given = {**self._given, "sockets": slot.descriptors}
            await worker.ask("start", given, seconds=_COMPILING)
        except BaseException:
            worker.kill()
            await worker.ended()
            raise
        slot.worker = worker
        self._crew.changed()

    async def _keep(self, slot: Slot) -> None:
        """Replace the worker of a slot whenever it has ended, until the drain."""
        while (worker := slot.worker) is not None:
            how = await worker.ended()
            self._crew.lose(worker.pid)
            if self._draining:
                return
            slot.worker = None
            log.error("worker %d %s; another one takes its place", worker.pid, how)
            await self._replace(slot)

    async def _replace(self, slot: Slot) -> None:
        """Start workers until one serves."""
        while slot.worker is None:
            delay = slot.delay()
            if delay:
                # New connections go to the others meanwhile.
                slot.close(unix=False)
                await asyncio.sleep(delay)
            self._metrics.count("lumina_worker_restarts_total")
            try:
                async with self._policy_lock:
                    await self._begin(slot)
            except (Declined, Lost, OSError) as error:
                log.error("a worker does not start: %s", error)  # noqa: TRY400
                continue
            log.info("another worker serves")

    # -- the policy

    def _gift(self, files: tuple[tuple[str, str], ...]) -> dict[str, object]:
        """Return what workers compile: texts, and every variable they look up."""
        return {"files": files, "variables": dict(self._environment.found)}

    async def _reload(self) -> None:
        async with self._policy_lock:
            try:
                loaded = await asyncio.to_thread(self._source.load)
                refuse_moves(self._listeners, loaded.policy.listeners)
                await asyncio.to_thread(
                    snapshot_of, loaded.policy, self._environment, self._keys
                )
                given = self._gift(loaded.files)
                prepared = await self._prepared(given)
            except (PolicyError, StartError, Declined) as error:
                self._source.refuse(str(error))
                self._metrics.policy_refused()
                return
            self._given = given
            # Who cannot take it up is replaced, and begins with it.
            answers = await ask_all(prepared, "commit", None, ANSWERING)
            end_failed(prepared, answers)
            self._source.put_in_force(loaded)
            self._metrics.policy_loaded(loaded.policy.digest)
            await asyncio.to_thread(self._source.keep)
            log.info("policy %s is in force", loaded.policy.digest)

    async def _prepared(self, given: dict[str, object]) -> list[WorkerProcess]:
        """Have every worker compile a policy; return those that did.

        Raises:
            Declined: one of them refuses it; all have forgotten it.
        """
        answering = await self._crew.ask(self._workers, "ready", None, _PATIENCE)
        try:
            return await self._crew.ask(answering, "prepare", given, _COMPILING)
        except Declined:
            await ask_all(self._workers, "refuse", None, ANSWERING)
            raise

    # -- what operators ask

    async def _ready(self) -> tuple[bool, Mapping[str, str]]:
        serving, words = await self._crew.ready()
        checks = {"policy": self._source.word, **words}
        checks["draining"] = "yes" if self._draining else "no"
        checks["workers"] = f"{serving} of {self._settings.workers}"
        return serving > 0 and not self._draining, checks
