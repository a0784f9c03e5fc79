"""Buckets in Redis: exact over processes, one round trip for a tick's requests.

The requests of one tick of the event loop take their tokens in one call of
``take.lua``, by the server's clock. No request ever waits longer than ``timeout``: what
Redis did not answer by then the process's own buckets answer, and after a few such
failures Redis is not asked again until a probe gets an answer (a circuit breaker).
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from importlib import resources
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from proxy.core.bucket import Grant, grant_of
from proxy.core.limits import Take
from proxy.edge.bucket_store import MemoryStore
from proxy.edge.waiter import Waiter

log = logging.getLogger("lumina.limits")

BATCH = 512
"""Requests in one call at most; a thousand buckets keep Redis busy for ~1 ms."""
FAILURES = 3
"""Failures in a row that open the breaker."""

_Pending = tuple[Sequence[Take], int, Waiter[list[Grant]]]


class RedisStore:
    """Buckets in one Redis.

    Args:
        client: made by the caller; closed by ``close``.
        now_us: this process's clock in microseconds, for its own buckets.
        timeout: seconds that a call may take.
        probe_every: seconds between two probes while the breaker is open.
        clock: what the script takes for the time instead of the server's clock, in
            microseconds; None outside of tests.

    Attributes:
        taken: requests that got all their tokens.
        refused: requests that did not.
        failures: calls that Redis did not answer.
        batches: calls.
        state: "ok", or "degraded" while this process's own buckets answer.
    """

    def __init__(
        self,
        client: "Redis",
        now_us: Callable[[], int],
        *,
        timeout: float = 0.02,
        probe_every: float = 1.0,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._client = client
        self._local = MemoryStore(now_us)
        self._timeout = timeout
        self._probe_every = probe_every
        self._clock = clock
        self._script = (
            resources.files("proxy.edge").joinpath("take.lua").read_text("utf-8")
        )
        self._sha = ""
        self._loop = asyncio.get_running_loop()
        self._pending: list[_Pending] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed_in_a_row = 0
        self.taken = 0
        self.refused = 0
        self.failures = 0
        self.batches = 0
        self.state = "ok"

    async def take(self, takes: Sequence[Take], cost: int = 1) -> list[Grant]:
        """Take ``cost`` tokens from every bucket, or from none.

        Args:
            takes: the buckets.
            cost: tokens from each; 0 only looks.
        """
        if self.state != "ok":
            grants = await self._local.take(takes, cost)
        else:
            waiter: Waiter[list[Grant]] = Waiter()
            if not self._pending:
                self._loop.call_soon(self._flush)
            self._pending.append((takes, cost, waiter))
            grants = await waiter
        if cost:
            if all(grant.allowed for grant in grants):
                self.taken += 1
            else:
                self.refused += 1
        return grants

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        for start in range(0, len(pending), BATCH):
            self._spawn(self._call(pending[start : start + BATCH]))

    def _spawn(self, coroutine: "asyncio._CoroutineLike[None]") -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call(self, batch: list[_Pending]) -> None:
        keys = [take.key for takes, _, _ in batch for take in takes]
        arguments: list[str | int] = ["" if self._clock is None else self._clock()]
        for takes, cost, _ in batch:
            arguments += (len(takes), cost)
            for take in takes:
                limit = take.limit
                arguments += (limit.refill, limit.token, limit.capacity)
        self.batches += 1
        try:
            async with asyncio.timeout(self._timeout):
                answers = await self._evaluate(keys, arguments)
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
            await self._answer_locally(batch)
            return
        self._failed_in_a_row = 0
        at = 0
        for takes, cost, waiter in batch:
            grants = []
            for take in takes:
                allowed, level = bool(answers[at]), answers[at + 1]
                grants.append(grant_of(take.limit, level, cost, allowed=allowed))
                at += 2
            waiter.set(grants)

    async def _evaluate(self, keys: list[str], arguments: list[str | int]) -> list[int]:
        client = self._client
        command = ("EVALSHA", self._sha, len(keys), *keys, *arguments)
        if self._sha:
            try:
                return await self._command(*command)
            except NoScriptError:
                pass  # Redis was restarted or flushed: load it again below
        self._sha = await client.script_load(self._script)
        return await self._command("EVALSHA", self._sha, len(keys), *keys, *arguments)

    async def _command(self, *words: str | int) -> list[int]:
        answer = self._client.execute_command(*words)  # type: ignore[no-untyped-call]
        return cast("list[int]", await answer)

    async def _answer_locally(self, batch: list[_Pending]) -> None:
        for takes, cost, waiter in batch:
            waiter.set(await self._local.take(takes, cost))

    def _failed(self, error: BaseException) -> None:
        self.failures += 1
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= FAILURES and self.state == "ok":
            self.state = "degraded"
            log.warning(
                "Redis does not answer (%s): limits are kept in this process",
                type(error).__name__,
            )
            self._spawn(self._probe())

    async def _probe(self) -> None:
        while self.state != "ok":
            await asyncio.sleep(self._probe_every)
            try:
                async with asyncio.timeout(max(self._timeout, 0.25)):
                    await self._client.ping()
            except (RedisError, OSError, TimeoutError):
                continue
            self._failed_in_a_row = 0
            self.state = "ok"
            log.warning("Redis answers again: limits are kept there")

    async def close(self) -> None:
        """Stop probing and close the connections."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._client.aclose()
