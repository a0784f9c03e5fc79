"""Telling the other processes that this one is there, and counting them.

While Redis is lost each process gives its share of every rate, so it has to know among
how many a rate is divided. Each writes its id into one sorted set, by the server's
clock, and reads how many ids are fresh. Whoever stops takes its id out; whoever dies is
forgotten after ``FRESH`` seconds.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from proxy.edge.redis_wire import Reply
from proxy.edge.tasks import end

EVERY: Final = 2.0
"""Seconds between two beats."""
FRESH: Final = 10
"""Seconds after which a process that is silent counts no more."""
KEY: Final = "lb:instances"

_BEAT: Final = """
local time = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', time - tonumber(ARGV[2]))
redis.call('ZREMRANGEBYSCORE', KEYS[1], time + tonumber(ARGV[2]), '+inf')
redis.call('ZADD', KEYS[1], time, ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
"""


class Caller(Protocol):
    """What carries a command: a ``RedisLink``."""

    def call(
        self,
        command: tuple[str | int | bytes, ...],
        on_reply: Callable[[Reply], object],
    ) -> None:
        """Send a command; its reply may never come."""


class Heartbeat:
    """Beats while it is started.

    Args:
        own: the id of this process, unlike any other's.
        seen: is told how many processes there are, this one included.
    """

    def __init__(self, own: str, seen: Callable[[int], object]) -> None:
        self._own = own
        self._seen = seen
        self._caller: Callable[[str], Caller | None] | None = None
        self._beating: asyncio.Task[None] | None = None

    def start(self, caller: Callable[[str], Caller | None]) -> None:
        """Beat from now on.

        Args:
            caller: returns what carries a command that is about a key; None for now
                nothing does.
        """
        self._caller = caller
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat())

    async def stop(self) -> None:
        """Beat no more, and take this process out."""
        beating, self._beating = self._beating, None
        if beating is not None:
            await end(beating)
            self._call("ZREM", KEY, self._own)

    async def _beat(self) -> None:
        while True:
            self._call("EVAL", _BEAT, 1, KEY, self._own, FRESH)
            await asyncio.sleep(EVERY)

    def _call(self, *command: str | int) -> None:
        caller = None if self._caller is None else self._caller(KEY)
        if caller is not None:
            caller.call(command, self._replied)

    def _replied(self, reply: Reply) -> None:
        """Note how many there are; an error, or the answer to ZREM, says nothing."""
        if isinstance(reply, int) and reply > 0 and self._beating is not None:
            self._seen(reply)
