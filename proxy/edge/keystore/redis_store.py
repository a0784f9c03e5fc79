"""A keystore in Redis: a hash for the document, one for counters, a key per entry.

Redis may forget: with an eviction policy, and at a restart without persistence. A
keystore may not, so a server that evicts is refused; persistence is the operator's.
"""

from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from typing import Any, TypeVar, cast

import redis.asyncio
from redis.exceptions import RedisError

from proxy.edge.keystore.ports import KeysUnavailableError

T = TypeVar("T")

# In braces: of a cluster, all of it has to be on one node.
_DOCUMENT = "{lumina-keystore}:document"
_USE = "{lumina-keystore}:use"
_ENTRY = "{lumina-keystore}:entry"
_TIMEOUT_SECONDS = 5.0

_SAVE = """
local revision = redis.call('HGET', KEYS[1], 'revision')
if (revision or '0') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'revision', ARGV[2], 'document', ARGV[3])
return 1
"""


class RedisKeystore:
    """Keeps everything under keys that begin with ``{lumina-keystore}``.

    Args:
        url: ``redis://…``, ``rediss://…`` or ``unix://…``, as redis-py reads it.
    """

    def __init__(self, url: str) -> None:
        self._client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
            url,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
        )
        self._checked = False

    async def load(self) -> bytes | None:
        """Return the document; None before there is one.

        Raises:
            KeysUnavailableError: Redis does not answer, or may throw keys away.
        """
        return cast("bytes | None", await self._ask(self._load()))

    async def _load(self) -> Any:
        if not self._checked:
            memory = await self._client.info("memory")
            policy = memory.get("maxmemory_policy")
            if policy != "noeviction":
                raise KeysUnavailableError(
                    f"this Redis may throw keys away (maxmemory-policy {policy}); a "
                    "keystore needs noeviction"
                )
            self._checked = True
        return await cast("Awaitable[Any]", self._client.hget(_DOCUMENT, "document"))

    async def save(self, document: bytes, revision: int) -> bool:
        """Put a document in the place of the one with the revision below its own."""
        call = self._client.eval(
            _SAVE, 1, _DOCUMENT, str(revision - 1), str(revision), document
        )
        return bool(await self._ask(call))

    async def count(self, used: Mapping[int, int]) -> dict[int, int]:
        """Add to the encryptions under each key; return all of them."""
        pipeline: Any = self._client.pipeline(transaction=True)
        for key_id, n in used.items():
            pipeline.hincrby(_USE, str(key_id), n)
        pipeline.hgetall(_USE)
        *_, found = await self._ask(pipeline.execute())
        return {int(key_id): int(n) for key_id, n in found.items()}

    async def entries(self, kind: str, names: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the entries of a kind that are there, of those asked for."""
        asked = list(names)
        if not asked:
            return {}
        keys = [_entry(kind, name) for name in asked]
        values: list[Any] = await self._ask(self._client.mget(keys))
        found = zip(asked, values, strict=True)
        return {name: value for name, value in found if value is not None}

    async def add_entries(self, kind: str, entries: Mapping[bytes, bytes]) -> None:
        """Add entries, all or none; one that is there already stays as it is."""
        pipeline: Any = self._client.pipeline(transaction=True)
        for name, entry in entries.items():
            pipeline.set(_entry(kind, name), entry, nx=True)
        await self._ask(pipeline.execute())

    async def drop_entries(self, kind: str, names: Iterable[bytes]) -> int:
        """Remove entries for good; return how many there were."""
        keys = [_entry(kind, name) for name in names]
        return int(await self._ask(self._client.delete(*keys))) if keys else 0

    async def scan(self, kind: str) -> AsyncIterator[bytes]:
        """Yield every entry of a kind; one may come twice."""
        cursor = 0
        while True:
            page = self._client.scan(cursor, match=f"{_ENTRY}:{kind}:*", count=500)
            at, keys = await self._ask(cast("Awaitable[Any]", page))
            entries: list[Any] = (
                await self._ask(self._client.mget(keys)) if keys else []
            )
            for entry in entries:
                if entry is not None:
                    yield entry
            cursor = int(at)
            if not cursor:
                return

    async def _ask(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except (RedisError, OSError, TimeoutError) as error:
            kind = type(error).__name__
            raise KeysUnavailableError(
                f"the Redis of the keystore does not answer ({kind})"
            ) from None

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()


def _entry(kind: str, name: bytes) -> str:
    return f"{_ENTRY}:{kind}:{name.hex()}"
