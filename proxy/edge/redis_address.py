"""Where Redis is: one server, servers watched by Sentinels, or a Cluster.

redis-py reads what a URL of one server says; two more kinds of URL name several, in the
notation that its users know: ``redis+sentinel://a:26379,b:26379/NAME`` and
``redis+cluster://a:6379,b:6379``, and the same with ``rediss`` for TLS.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

Server = tuple[str, int]
"""A host and a port."""

_SEVERAL: Final = re.compile(
    r"(?P<scheme>rediss?)\+(?P<kind>sentinel|cluster)://(?P<login>[^/@?]*@)?"
    r"(?P<servers>[^/?]+)(?:/(?P<name>[^/?]*))?(?:/(?P<db>[0-9]+))?(?P<query>\?.*)?"
)
_SERVER: Final = re.compile(
    r"(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:]+))(?::(?P<port>\d+))?"
)
_PORTS: Final = {"sentinel": 26_379, "cluster": 6379}
_OF_SENTINELS: Final = ("sentinel_username", "sentinel_password")
_ASKED_FOR: Final = 0.3
"""Seconds for one Sentinel, or one node of a Cluster, to say who is master."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """What a URL says.

    Attributes:
        kind: "server", "sentinel" or "cluster".
        servers: those that the URL names; empty for one server, which ``options`` has.
        name: what the Sentinels call the master; "" without Sentinels.
        options: of every connection to a server, as redis-py takes them.
        sentinel_options: of connections to Sentinels.
    """

    kind: str
    servers: tuple[Server, ...]
    name: str
    options: Mapping[str, Any] = dataclasses.field(repr=False)
    sentinel_options: Mapping[str, Any] = dataclasses.field(repr=False)

    @classmethod
    def parse(cls, url: str) -> "RedisAddress":
        """Read a URL.

        Raises:
            ValueError: it is none of ``redis://``, ``rediss://``, ``unix://``,
                ``redis+sentinel://``, ``rediss+sentinel://``, ``redis+cluster://`` and
                ``rediss+cluster://``, or an option has no such value.
        """
        several = _SEVERAL.fullmatch(url)
        if several is None:
            one = dict(parse_url(url))
            return cls(
                kind="server", servers=(), name="", options=one, sentinel_options={}
            )
        kind, name = several["kind"], unquote(several["name"] or "")
        servers = tuple(_server(one, kind) for one in several["servers"].split(","))
        if (kind == "sentinel") != bool(name):
            raise ValueError("redis+sentinel:// has the name of a master, and no other")
        login, query = several["login"] or "", several["query"] or ""
        db = several["db"] or "0"
        options: dict[str, Any] = dict(
            parse_url(f"{several['scheme']}://{login}a:1/{db}{query}")
        )
        of_sentinels = {
            key.removeprefix("sentinel_"): options.pop(key)
            for key in _OF_SENTINELS
            if key in options
        }
        for key in ("host", "port"):
            del options[key]
        tls = {k: v for k, v in options.items() if k.startswith("ssl_")}
        return cls(
            kind=kind,
            servers=servers,
            name=name,
            options=options,
            sentinel_options={**tls, **of_sentinels},
        )

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return "connection_class" in self.options and "SSL" in str(
            self.options["connection_class"]
        )

    def pool(self, server: Server | None = None) -> ConnectionPool:
        """Return what makes connections to a server, or to the master of now.

        Args:
            server: a node of the Cluster; None for the one server, or the master.
        """
        if self.kind == "sentinel":
            return self._pool_of_master()
        where = {} if server is None else {"host": server[0], "port": server[1]}
        return ConnectionPool(**{**self.options, **where, **_OURS, **_patient()})

    def asking_pool(self, server: Server) -> ConnectionPool:
        """Return what makes connections to ask a node of a Cluster where slots are."""
        where = {"host": server[0], "port": server[1]}
        return ConnectionPool(**{**self.options, **where, **_OURS, **_hurried()})

    def _pool_of_master(self) -> ConnectionPool:
        options = {k: v for k, v in self.options.items() if k != "connection_class"}
        sentinel = Sentinel(  # type: ignore[no-untyped-call]
            self.servers,
            sentinel_kwargs={**self.sentinel_options, "ssl": self.tls, **_hurried()},
        )
        return SentinelConnectionPool(  # type: ignore[no-untyped-call]
            self.name, sentinel, ssl=self.tls, **{**options, **_OURS, **_patient()}
        )


async def close_pool(pool: ConnectionPool) -> None:
    """Close what a pool keeps open to find its master."""
    if isinstance(pool, SentinelConnectionPool):
        await pool.sentinel_manager.aclose()


def _server(text: str, kind: str) -> Server:
    match = _SERVER.fullmatch(text)
    if match is None:
        raise ValueError("a server is host:port")
    return match["six"] or match["host"], int(match["port"] or _PORTS[kind])


# RESP2: nothing is pushed, so every reply answers a send.
_OURS: Final = {"protocol": 2}


def _patient() -> dict[str, Any]:
    """Return options of connections whose opening has one bound, around all of it."""
    return {
        "socket_timeout": None,
        "socket_connect_timeout": None,
        "retry": Retry(NoBackoff(), 0),
    }


def _hurried() -> dict[str, Any]:
    """Return options of connections of which the next one is tried soon."""
    return {
        "socket_timeout": _ASKED_FOR,
        "socket_connect_timeout": _ASKED_FOR,
        "retry": Retry(NoBackoff(), 0),
    }
