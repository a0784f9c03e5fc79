"""Revocations that all processes share: a stream in Redis, read to its end and on.

Rules of this file:

1. Every process reads the whole stream when it starts, then waits at its end: what one
   process revokes is in force on every other as soon as Redis has passed it on.
2. What this process is told is in force here at once, whether Redis answers or not;
   what Redis could not be told is told when it answers again.
3. What is known stays known while Redis is lost, and Redis that comes back without it,
   restarted or emptied, is told again by whoever finds out.

Without Redis the revocations are this process's own, and end with it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import redis.asyncio as aioredis
from redis.exceptions import RedisError

from proxy.core.revocations import Kind, Revocation, Revocations

STREAM: Final = "lumina:revocations"
BLOCK_MS: Final = 500
"""How long one read waits at the end of the stream."""
RETRY: Final = 0.5
"""Seconds between two attempts to reach Redis."""
SWEEP: Final = 60.0
"""Seconds between two looks for what may be forgotten."""

_AT_ONCE: Final = 1000
_TIMEOUT: Final = 5.0
_LONGEST_MS: Final = 400 * 86_400_000
"""Entries older than any revocation may be are cut off, in milliseconds."""

log = logging.getLogger("lumina.tokens")

Fields = Mapping[bytes, bytes]


class RevocationLog:
    """Keeps revocations current, and adds to them.

    Args:
        revocations: where they are held.
        url: of Redis; None keeps them in this process.
        wall: epoch seconds.
        changed: called after changes that make tokens bad.
    """

    def __init__(
        self,
        revocations: Revocations,
        url: str | None,
        wall: Callable[[], float],
        changed: Callable[[], object],
    ) -> None:
        self._revocations = revocations
        self._wall = wall
        self._changed = changed
        self._redis: aioredis.Redis | None = None
        if url is not None:
            self._redis = aioredis.Redis.from_url(
                url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT
            )
        self._last = b"0"
        self._heard: float | None = None
        self._lost_at = 0.0
        self._stopping = False
        self._untold: list[dict[str, str]] = []
        self._caught_up = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> str:
        """Return "ok", or what is wrong."""
        if self._redis is None or self._is_connected:
            return "ok"
        known = "known ones hold" if self._caught_up.is_set() else "none is known"
        return f"Redis does not answer: {known}"

    @property
    def _is_connected(self) -> bool:
        return self._heard is not None

    def age(self) -> float:
        """Return the seconds since Redis answered; 0.0 without Redis."""
        if self._redis is None:
            return 0.0
        since = self._heard or self._lost_at
        return max(0.0, asyncio.get_running_loop().time() - since)

    async def start(self, seconds: float) -> None:
        """Read what was revoked, waiting for at most ``seconds``; go on reading."""
        loop = asyncio.get_running_loop()
        self._lost_at = loop.time()
        self._tasks.add(loop.create_task(self._sweep()))
        if self._redis is not None:
            self._tasks.add(loop.create_task(self._follow(self._redis)))
            caught_up = asyncio.ensure_future(self._caught_up.wait())
            await asyncio.wait((caught_up,), timeout=seconds)
            caught_up.cancel()

    async def revoke(self, revocation: Revocation) -> bool:
        """Put a revocation in force here and elsewhere.

        Returns:
            Whether other processes are told; False while Redis does not answer.
        """
        log.info("tokens of %s revoked: %s", revocation.issuer, revocation.kind.value)
        self._apply(revocation)
        self._changed()
        return await self._tell(_fields_of(revocation))

    async def restore(self, key: tuple[str, str, str]) -> tuple[bool, bool]:
        """Take a revocation back here and elsewhere.

        Returns:
            Whether there was one, and whether other processes are told.
        """
        found = self._revocations.restore(key)
        kind, issuer, value = key
        log.info("tokens of %s restored: %s", issuer, kind)
        fields = {"do": "restore", "kind": kind, "issuer": issuer, "value": value}
        return found, await self._tell(fields)

    def _apply(self, revocation: Revocation) -> None:
        if revocation.until > self._wall():
            self._revocations.add(revocation)

    async def _tell(self, fields: dict[str, str]) -> bool:
        """Add to the stream, now or later; say whether it was now."""
        if self._redis is None:
            return True  # there is nobody else
        if self._is_connected:
            # Whoever follows the stream notices a failure, and says so.
            with contextlib.suppress(RedisError, OSError):
                await self._add(self._redis, fields)
                return True
        self._untold.append(fields)
        return False

    async def _add(self, client: "aioredis.Redis", fields: dict[str, str]) -> None:
        oldest = max(0, int(self._wall() * 1000) - _LONGEST_MS)
        await client.xadd(STREAM, fields, minid=oldest)  # type: ignore[arg-type]

    async def _follow(self, client: "aioredis.Redis") -> None:
        while not self._stopping:
            try:
                await self._remind(client)
                while not self._stopping:
                    await self._read(client)
            except (RedisError, OSError) as error:
                if self._heard is not None or not self._caught_up.is_set():
                    log.warning("revocations: Redis: %s", type(error).__name__)
                if self._heard is not None:
                    self._lost_at, self._heard = self._heard, None
                await asyncio.sleep(RETRY)

    async def _remind(self, client: "aioredis.Redis") -> None:
        """Tell Redis what it does not know, or no longer."""
        if self._last != b"0" and not await client.xrange(
            STREAM, self._last, self._last
        ):
            log.warning("revocations: Redis has lost them, and is told again")
            self._last = b"0"
            for revocation in self._revocations.all():
                await self._add(client, _fields_of(revocation))
        while self._untold:
            await self._add(client, self._untold[0])
            del self._untold[0]

    async def _read(self, client: "aioredis.Redis") -> None:
        """Apply what was added; at the end of the stream, wait for more."""
        block = BLOCK_MS if self._caught_up.is_set() else None
        found: Any = await client.xread({STREAM: self._last}, _AT_ONCE, block)
        if not self._is_connected:
            log.info("revocations: Redis answers")
        self._heard = asyncio.get_running_loop().time()
        # RESP2 answers with pairs, RESP3 with a mapping of lists.
        entries = found[0][1] if found else ()
        for entry, fields in entries:
            self._last = entry
            self._heed(fields)
        if entries:
            self._changed()
        else:
            self._caught_up.set()

    def _heed(self, fields: Fields) -> None:
        try:
            text = {name.decode(): value.decode() for name, value in fields.items()}
            if text["do"] == "restore":
                self._revocations.restore((text["kind"], text["issuer"], text["value"]))
            else:
                self._apply(_revocation_of(text))
        except (KeyError, ValueError):
            log.error("revocations: an entry of the stream cannot be read")  # noqa: TRY400

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            self._revocations.expire(self._wall())
            if self._redis is not None and self._is_connected:
                with contextlib.suppress(RedisError, OSError):
                    await self._remind(self._redis)

    async def stop(self) -> None:
        """Follow no more."""
        # Now and then redis-py keeps a cancellation to itself.
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._redis is not None:
            await self._redis.aclose()


def _fields_of(revocation: Revocation) -> dict[str, str]:
    return {
        "do": "revoke",
        "kind": revocation.kind.value,
        "issuer": revocation.issuer,
        "value": revocation.value,
        "before": repr(revocation.before),
        "until": repr(revocation.until),
        "why": revocation.why,
    }


def _revocation_of(text: Mapping[str, str]) -> Revocation:
    return Revocation(
        kind=Kind(text["kind"]),
        issuer=text["issuer"],
        value=text["value"],
        before=float(text["before"]),
        until=float(text["until"]),
        why=text["why"],
    )
