"""The ports that clients connect to, as settings and policy have them: frozen values.

Nothing here opens a socket or a file (``edge.sockets`` and ``edge.tls`` do).
"""

import dataclasses
import ipaddress
import re
from collections.abc import Mapping
from typing import Final

DEFAULT_LISTENER: Final = "default"
"""The listener at LISTEN: where requests come to the rules that name no other."""

ADDRESS: Final = re.compile(
    r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[A-Za-z0-9._-]*)):(?P<port>[0-9]{1,5})"
    r"|unix:(?P<path>/[!-~]{1,106})"
)
"""A path has room for 107 bytes in the system's address of a socket (unix(7))."""
_MAX_PORT: Final = 65_535


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to listen.

    Attributes:
        host: "" for a unix socket.
        port: 0 is any free one, or a unix socket.
        path: of the unix socket; "" for TCP.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read ``host:port``, ``[v6]:port``, ``:port`` (IPv4) or ``unix:/path``.

        Raises:
            ValueError: it is something else.
        """
        parts = ADDRESS.fullmatch(text)
        if parts is None or int(parts["port"] or 0) > _MAX_PORT:
            raise ValueError("host:port was expected")
        if parts["path"]:
            return cls(path=parts["path"])
        host = parts["host"] or "0.0.0.0"  # noqa: S104 - asked for
        if parts["v6"]:
            host = str(ipaddress.IPv6Address(parts["v6"]))
        return cls(host=host, port=int(parts["port"]))

    @property
    def is_any_free(self) -> bool:
        """Whether the system chooses the port."""
        return not self.port and not self.path

    def __str__(self) -> str:
        """Format as ``parse`` reads it."""
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ListenerTls:
    """How a listener speaks TLS.

    Attributes:
        certificate: the file with its chain.
        key: the file with its private key; None when ``certificate`` has it.
        tls_1_2: whether TLS 1.2 is spoken beside 1.3.
    """

    certificate: str
    key: str | None = None
    tls_1_2: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A port that clients connect to.

    Attributes:
        id: its name in the policy.
        address: where it listens; None for what the settings say.
        tls: None for plain connections.
        proxy_protocol: whether trusted peers begin every connection with a header
            that says who the client is.
        max_connections: at a time, of each process; None for as many as the process
            takes in all.
    """

    id: str = DEFAULT_LISTENER
    address: Address | None = None
    tls: ListenerTls | None = None
    proxy_protocol: bool = False
    max_connections: int | None = None


def moved(old: Mapping[str, Listener], new: Mapping[str, Listener]) -> str:
    """Say which listener a reload would have listen elsewhere; "" for none.

    Sockets are made at the start, where it may still be refused, and belong to every
    process from then on.
    """
    for name in dict.fromkeys((*old, *new)):
        if name not in old:
            return f"the listener {name} is new"
        if name not in new:
            return f"the listener {name} is no longer there"
        if old[name].address != new[name].address:
            return f"the listener {name} listens elsewhere"
    return ""
