"""The keys that issuers publish: fetched ahead of need, kept when nobody answers.

Rules of this file:

1. Requests find keys in the ``IssuerKeys`` and wait for nothing. Each issuer is asked
   again before its keys are old, in the background; one that fails is asked more often.
2. A token that names a key nobody knows causes one more look, for all that wait
   together, and not sooner than ``COOLDOWN`` after the look before. Whoever came while
   a look was under way waits for the next, for that one may have begun too early.
3. A key that a look has just not found is not looked for again for ``ABSENT``.
4. What cannot be fetched, or is no key set, changes nothing: the keys of before stay
   good for ``RemoteKeys.keep``, and then none are.

Not here: which keys are good (``core.jwk``), and how long anything is remembered
(``core.authn``).
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from typing import Final

import aiohttp

from proxy.core.authn import IssuerKeys, Unsettled
from proxy.core.issuer import Issuer, RemoteKeys
from proxy.core.jwk import KeySet
from proxy.edge.key_fetch import FetchError, fetch_keys
from proxy.edge.waiter import Waiter

COOLDOWN: Final = 2.0
"""Seconds between two looks that requests ask for."""
ABSENT: Final = 10.0
"""Seconds for which a key that was not found is not looked for."""
MAX_WAITING: Final = 1000
"""Requests that wait for one issuer; more are answered with what is known."""
RETRY: Final = (1.0, 30.0)
"""Seconds until the next try after the first failure, and after many."""
FILE_REFRESH: Final = 5.0
"""Seconds between two looks at a file, which costs nobody else anything."""

log = logging.getLogger("lumina.keys")


class KeySource:
    """Keeps the keys of issuers current.

    Args:
        keys: where they are put.
        cooldown: as COOLDOWN; tests have less time.
    """

    def __init__(self, keys: IssuerKeys, *, cooldown: float = COOLDOWN) -> None:
        self._issuer_keys = keys
        self._cooldown = cooldown
        self._sources: dict[str, _Source] = {}
        self._session: aiohttp.ClientSession | None = None
        self._failures: dict[str, int] = {}
        self._complete = False

    def configure(self, issuers: Iterable[Issuer]) -> None:
        """Look after the keys of ``issuers`` from now on, and of no others.

        An issuer whose source or algorithms are others than before begins anew.
        """
        wanted = {issuer.issuer: issuer for issuer in issuers if issuer.remote}
        for name, source in list(self._sources.items()):
            if name not in wanted or not source.serves(wanted[name]):
                del self._sources[name]
                source.stop()
                self._issuer_keys.drop(name)
        if wanted and self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=False)
        for name, issuer in wanted.items():
            if name not in self._sources and self._session is not None:
                self._failures.setdefault(issuer.id, 0)
                self._sources[name] = _Source(
                    issuer,
                    self._issuer_keys,
                    self._session,
                    self._cooldown,
                    self._failed,
                )
            self._sources[name].issuer = issuer

    def _failed(self, issuer: str) -> None:
        self._failures[issuer] += 1

    async def first_look(self, seconds: float) -> None:
        """Wait until every issuer was asked once, but no longer than ``seconds``."""
        looks = [source.looked.wait() for source in self._sources.values()]
        tasks = [asyncio.ensure_future(look) for look in looks]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        self._complete = not self._missing()

    def inquire(self, question: Unsettled) -> Waiter[bool]:
        """Look for what a token needs.

        Returns:
            Awaited, whether the issuer answered; ask the authenticator again then.
        """
        source = self._sources.get(question.issuer.issuer)
        if source is None:  # of a policy that is no longer in force
            return Waiter.of(value=False)
        return source.look_for(question.kid)

    def refresh_soon(self) -> None:
        """Ask every issuer again, and wait for none."""
        for source in self._sources.values():
            source.look_soon()

    async def refresh(self) -> dict[str, str]:
        """Ask every issuer now; return what came of it, by the issuer's id."""
        sources = list(self._sources.values())
        answers = [source.look_now() for source in sources]
        return {
            source.issuer.id: "ok" if await answer else f"failed: {source.problem}"
            for source, answer in zip(sources, answers, strict=True)
        }

    @property
    def complete(self) -> bool:
        """Whether every issuer's keys were there at some time since the start.

        Once that is so it stays so: an issuer that is added later, or lost, is no
        reason to send everybody else away.
        """
        self._complete = self._complete or not self._missing()
        return self._complete

    @property
    def state(self) -> str:
        """Return "ok", or whose keys are missing or old."""
        if missing := self._missing():
            return f"none of {', '.join(missing)}"
        old = [one.issuer.id for one in self._sources.values() if one.problem]
        return f"not refreshed: {', '.join(old)}" if old else "ok"

    def _missing(self) -> list[str]:
        return [
            source.issuer.id
            for name, source in self._sources.items()
            if self._issuer_keys.of(name) is None
        ]

    def ages(self) -> list[tuple[tuple[str, ...], float]]:
        """Return, by issuer, the seconds since its keys were known to be current."""
        return [((one.issuer.id,), one.age()) for one in self._sources.values()]

    def failures(self) -> list[tuple[tuple[str, ...], float]]:
        """Return, by issuer, how often it did not answer as it should."""
        return [((name,), float(n)) for name, n in self._failures.items()]

    async def stop(self) -> None:
        """Look after nothing any more."""
        sources = list(self._sources.values())
        self._sources.clear()
        for source in sources:
            source.stop()
        await asyncio.gather(*(one.task for one in sources), return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None


class _Source:
    """The keys of one issuer.

    Attributes:
        issuer: whose.
        looked: set once the first look is over.
        problem: what was wrong with the last look; "" for nothing.
        task: looks until it is cancelled.
    """

    def __init__(
        self,
        issuer: Issuer,
        keys: IssuerKeys,
        session: aiohttp.ClientSession,
        cooldown: float,
        failed: Callable[[str], None],
    ) -> None:
        self.issuer = issuer
        self.looked = asyncio.Event()
        self.problem = ""
        self._issuer_keys = keys
        self._session = session
        self._cooldown = cooldown
        self._count_failure = failed
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._good_at = self._began
        self._next = self._began
        self._failures = 0
        self._waiting: list[Waiter[bool]] = []
        self._joined: list[Waiter[bool]] = []
        self._looking = False
        self._wanted: set[str] = set()
        self._absent: dict[str, float] = {}
        self._unused: tuple[str, ...] = ()
        self._wake = asyncio.Event()
        self.task = self._loop.create_task(self._run())
        self.task.add_done_callback(self._ended)

    @property
    def remote(self) -> RemoteKeys:
        """Where the keys are."""
        assert self.issuer.remote is not None  # noqa: S101 - only such have a source
        return self.issuer.remote

    def serves(self, issuer: Issuer) -> bool:
        """Say whether what is fetched for one issuer is what another one needs."""
        ours, theirs = self.issuer, issuer
        return ours.remote == theirs.remote and ours.algorithms == theirs.algorithms

    def age(self) -> float:
        """Return the seconds since the last good answer, or the first question."""
        return self._loop.time() - self._good_at

    def look_for(self, kid: str | None) -> Waiter[bool]:
        """Look for a key, unless that was just done."""
        now = self._loop.time()
        if len(self._waiting) + len(self._joined) >= MAX_WAITING:
            return Waiter.of(not self.problem)
        if self._looking and self._issuer_keys.of(self.issuer.issuer) is None:
            # Whatever comes is newer than nothing.
            waiter: Waiter[bool] = Waiter()
            self._joined.append(waiter)
            return waiter
        if kid is not None:
            if now < self._absent.get(kid, 0.0):
                return Waiter.of(not self.problem)
            self._wanted.add(kid)
        return self._look(max(now, self._began + self._cooldown))

    def look_now(self) -> Waiter[bool]:
        """Look whether or not it was done just now."""
        return self._look(self._loop.time())

    def look_soon(self) -> None:
        """Look, with nobody who waits for it."""
        self._next = self._loop.time()
        self._wake.set()

    def _look(self, when: float) -> Waiter[bool]:
        waiter: Waiter[bool] = Waiter()
        if self.task.done():
            waiter.set(value=False)
            return waiter
        self._waiting.append(waiter)
        self._next = min(self._next, when)
        self._wake.set()
        return waiter

    def stop(self) -> None:
        """End it; whoever waits is told that nobody answered."""
        self.task.cancel()
        for waiter in (*self._joined, *self._waiting):
            waiter.set(value=False)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """Log what ended a task that never ends, and leave nobody waiting."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error(
                "issuer %s: keys are no longer fetched", self.issuer.id, exc_info=error
            )
            self.stop()

    async def _run(self) -> None:
        while True:
            if await self._is_time():
                self._joined, self._waiting = self._waiting, []
                wanted, self._wanted = self._wanted, set()
                self._looking = True
                answered = await self._look_once(wanted)
                self._looking = False
                self._plan(answered=answered)
                self.looked.set()
                joined, self._joined = self._joined, []
                for waiter in joined:
                    waiter.set(answered)

    async def _is_time(self) -> bool:
        """Wait until the next look is due, or keys are too old; say which."""
        now = self._loop.time()
        ends = self._good_at + self.remote.keep
        if ends <= now and self._issuer_keys.of(self.issuer.issuer) is not None:
            log.error("issuer %s: its keys are too old", self.issuer.id)
            self._issuer_keys.drop(self.issuer.issuer)
        if self._next <= now:
            return True
        self._wake.clear()
        until = self._next if ends <= now else min(self._next, ends)
        try:
            async with asyncio.timeout_at(until):
                await self._wake.wait()
        except TimeoutError:
            pass
        return False

    async def _look_once(self, wanted: set[str]) -> bool:
        """Fetch the keys; say whether the issuer answered."""
        self._began = self._loop.time()
        issuer = self.issuer
        try:
            found = await fetch_keys(self._session, issuer)
        except FetchError as error:
            self._failed(str(error))
            return False
        self._take(found)
        if self.problem:
            log.info("issuer %s: its keys are fetched again", issuer.id)
        self.problem = ""
        self._good_at = self._began
        self._note_absent(wanted)
        return True

    def _take(self, found: KeySet) -> None:
        name, issuer = self.issuer.issuer, self.issuer
        if found.keys != self._issuer_keys.of(name):
            kids = ", ".join(f"{key.kid!a:.80}" for key in found.keys)
            log.info("issuer %s: its keys are now %s", issuer.id, kids or "none")
            self._issuer_keys.put(name, found.keys)
        if found.unused != self._unused:
            for why in found.unused:
                log.warning("issuer %s: %s is not used", issuer.id, why)
            self._unused = found.unused

    def _failed(self, why: str) -> None:
        if why != self.problem:
            log.warning("issuer %s: %s", self.issuer.id, why)
        self.problem = why
        self._count_failure(self.issuer.id)

    def _note_absent(self, wanted: set[str]) -> None:
        """Remember which keys are not there, for a while; those of before are over."""
        now = self._loop.time()
        self._absent = {kid: end for kid, end in self._absent.items() if now < end}
        known = {key.kid for key in self._issuer_keys.of(self.issuer.issuer) or ()}
        for kid in wanted - known:
            self._absent[kid] = now + ABSENT

    def _plan(self, *, answered: bool) -> None:
        """Decide when to look again, unless somebody waits already."""
        self._failures = 0 if answered else self._failures + 1
        refresh = self.remote.refresh
        if self.remote.url.startswith("file:"):
            refresh = min(refresh, FILE_REFRESH)
        if not answered:
            refresh = min(refresh, RETRY[1], RETRY[0] * 2 ** min(self._failures - 1, 9))
        # Not all instances at once.
        self._next = self._loop.time() + refresh * random.uniform(0.9, 1.0)  # noqa: S311
        if self._waiting:
            self._next = min(self._next, self._began + self._cooldown)
