"""Asking a Redis Cluster which master has which slots. Not on the data path."""

from collections.abc import Sequence
from typing import Final

from redis.exceptions import RedisError

from proxy.edge.redis_address import RedisAddress, Server

SLOTS: Final = 16_384
"""Redis Cluster specification, key distribution model."""

Ranges = list[tuple[int, int, Server]]
"""First slot, last slot, and the master that has them."""


async def ask_for_slots(
    address: RedisAddress, servers: Sequence[Server]
) -> Ranges | None:
    """Return what the first server that answers says; None when none does.

    Args:
        address: says how to connect.
        servers: whom to ask, in this order.
    """
    for server in servers:
        pool = address.asking_pool(server)
        connection = pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.connect()
            await connection.send_command("CLUSTER", "SLOTS")
            return _read(await connection.read_response(), server)
        except (RedisError, OSError):
            continue
        finally:
            await connection.disconnect(nowait=True)
    return None


def _read(reply: object, asked: Server) -> Ranges:
    """Read what CLUSTER SLOTS answers.

    Raises:
        RedisError: it is something else.
    """
    ranges: Ranges = []
    try:
        for first, last, master, *_ in reply:  # type: ignore[attr-defined]
            host, port = master[0], master[1]
            # No host means: the one that you asked.
            name = host.decode() if host else ""
            server = (name if name not in {"", "?"} else asked[0], int(port))
            ranges.append((int(first), int(last), server))
    except (TypeError, ValueError, IndexError, AttributeError):
        raise RedisError("this is no map of slots") from None
    return ranges
