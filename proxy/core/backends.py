"""The services behind the proxy, as the policy has them: frozen values.

Nothing here opens a connection or a file (``edge.pool`` and ``edge.tls`` do), and
nothing here chooses a server (``edge.balancer`` does). Seconds are floats.
"""

import dataclasses
import enum


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long the backend may take, in seconds.

    Attributes:
        connect: until the connection stands, its TLS handshake included; and how long
            a request waits for a connection when there are as many as there may be.
        first_byte: from the request's last byte to the response's head.
        idle: between two reads of a body, and how long a pooled connection may rest.
    """

    connect: float = 2.0
    first_byte: float = 30.0
    idle: float = 60.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One address of a backend.

    Attributes:
        host: without brackets; "" for a unix socket.
        port: 0 for a unix socket.
        tls: whether it speaks TLS.
        path: of the unix socket; "" for TCP.
    """

    host: str = ""
    port: int = 0
    tls: bool = False
    path: str = ""

    @property
    def address(self) -> str:
        """The address as metrics and logs show it: host:port, or unix:/path."""
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """An active check: GET ``path``; 2xx is healthy.

    Attributes:
        path: what is asked for.
        every: seconds between two checks.
        timeout: seconds that one may take; it never takes longer than ``every``.
        host: the Host that it is asked for under; None for the server's address.
        down_after: failures in a row that make a server count as down.
        up_after: successes in a row that make it count as up again.
    """

    path: str
    every: float
    timeout: float = 2.0
    host: str | None = None
    down_after: int = 2
    up_after: int = 1


class Balance(enum.Enum):
    """Which of several servers gets a request; the words of the policy."""

    LEAST_OUTSTANDING = "least-outstanding"
    ROUND_ROBIN = "round-robin"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ejection:
    """When a server gets no requests for a while because it fails them.

    What counts is what the proxy sees of the connection: refused, reset, too slow, or
    no HTTP. Statuses do not: a client that finds one page with a 503 could take every
    server out with it.

    Attributes:
        after: failures in a row.
        seconds: how long, the first time; the second time twice as long, and so on.
        at_most: servers that may be out at once; None for half of them, rounded down.
    """

    after: int = 5
    seconds: float = 10.0
    at_most: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """How much a backend may be asked at once, by one process; more is refused.

    Attributes:
        connections: to each server.
        pending: requests that wait for a connection to each server.
        in_flight: requests of the whole backend, waiting or under way; None for as
            many as connections and pending come to.
    """

    connections: int = 1024
    pending: int = 1024
    in_flight: int | None = None


class Verify(enum.Enum):
    """What of a server's certificate is checked; the words of the policy."""

    FULL = "full"
    CHAIN = "chain"
    NONE = "none"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BackendTls:
    """How servers with https prove who they are, and the proxy to them.

    Attributes:
        ca: the file with the authorities that are trusted; None for the system's.
        certificate: the file with the proxy's own chain; None for none.
        key: the file with its private key; None when ``certificate`` has it.
        server_name: what the certificate is for, and the SNI; None for the host.
        verify: FULL checks the chain and the name, CHAIN the chain, NONE nothing.
    """

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    server_name: str | None = None
    verify: Verify = Verify.FULL


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A service behind the proxy.

    Attributes:
        id: unique in the policy; a metric label.
        servers: never empty.
        timeouts: of exchanges whose rule says nothing else.
        health: how servers are asked whether they serve; None for not at all.
        balance: which server gets a request.
        ejection: when a server that fails is left alone; None for never.
        breaker: how much it may be asked at once.
        retry: whether a request may be sent a second time, where that is safe.
        tls: for its servers with https.
    """

    id: str
    servers: tuple[Server, ...]
    timeouts: Timeouts = Timeouts()
    health: HealthCheck | None = None
    balance: Balance = Balance.LEAST_OUTSTANDING
    ejection: Ejection | None = Ejection()
    breaker: Breaker = Breaker()
    retry: bool = True
    tls: BackendTls = BackendTls()
