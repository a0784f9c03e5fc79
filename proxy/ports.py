"""What the pipeline needs of the world: small protocols that edges satisfy.

They are the consumer's: an edge has what is named here without knowing it, and
``app`` brings the two together. The data path itself is in ``pipeline``.
"""

import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol

from proxy.core.audit_chain import Value
from proxy.core.authn import Authenticator, Unsettled
from proxy.core.bucket import Grant
from proxy.core.ciphers import Ciphers
from proxy.core.entries import Name
from proxy.core.errors import Refused
from proxy.core.exchange import Exchange
from proxy.core.limits import Take
from proxy.core.message import Body, Request, Response
from proxy.core.policy import Policy, Rule


class Downstream(Protocol):
    """Where the answer goes. Frames it anew for its client."""

    @property
    def method(self) -> str:
        """The method of the request; "" when none could be read."""
        ...

    @property
    def peer(self) -> str:
        """The address that the connection comes from; "" for a unix socket."""
        ...

    @property
    def accept(self) -> bytes:
        """What the client would take, as its Accept says; b"" when that is unknown."""
        ...

    @property
    def started(self) -> bool:
        """Whether the head of an answer has been written."""
        ...

    def send(self, status: int, phrase: bytes, lines: list[bytes], body: bytes) -> None:
        """Write a whole answer."""
        ...

    def start(
        self, status: int, phrase: bytes, lines: list[bytes], length: int | None
    ) -> None:
        """Write the head of an answer whose body follows."""
        ...

    async def write(self, chunk: bytes) -> None:
        """Write a part of the body, waiting until the client can take more."""
        ...

    def end(self) -> None:
        """Write the end of the body."""
        ...

    def switch(self, phrase: bytes, lines: list[bytes], connection: object) -> None:
        """Answer 101, and join this connection with what the backend's became.

        Raises:
            CancelledError: the client is gone.
        """
        ...

    def close_after_answer(self) -> None:
        """Let the answer be the last one of this connection."""
        ...

    def abort(self) -> None:
        """Break the connection, for the answer cannot be completed."""
        ...


class Handler(Protocol):
    """Who answers requests: the pipeline, as the listener sees it."""

    async def handle(self, request: Request, downstream: Downstream) -> None:
        """Answer ``request`` on ``downstream``; must not raise but when cancelled."""
        ...

    def reject(self, refused: Refused, downstream: Downstream) -> None:
        """Answer what could not be read as a request."""
        ...


class Upstream(Protocol):
    """Who exchanges a request with a backend."""

    def exchange(
        self,
        rule: Rule,
        method: str,
        head: bytes,
        body: bytes | Body,
        *,
        chunked: bool = False,
    ) -> Awaitable[Response]:
        """Send a request as a rule says; awaited, return the answer's head."""
        ...


class Inquiries(Protocol):
    """Who asks issuers what is not known here."""

    def inquire(self, question: Unsettled) -> Awaitable[bool]:
        """Ask; awaited, in bounded time, return whether the issuer answered.

        Then the authenticator knows more, and is asked again.
        """
        ...


class BucketStore(Protocol):
    """Who keeps the buckets."""

    def take(self, takes: Sequence[Take]) -> Awaitable[list[Grant]]:
        """Take from all buckets or from none; awaited, return a grant for each."""
        ...

    def settle(self, takes: Sequence[Take]) -> None:
        """Charge each bucket, or give back, whatever it holds; wait for nothing."""
        ...


class Recorder(Protocol):
    """Who observes."""

    def record(self, exchange: Exchange) -> None:
        """Note one request that is over."""
        ...

    def cipher(self, field: str, operation: str, outcome: str, key: str) -> None:
        """Note one protected leaf."""
        ...

    def failed(self, error: BaseException, exchange: Exchange) -> None:
        """Note a bug of ours."""
        ...


class AccessLog(Protocol):
    """Who logs requests."""

    def configure(self, policy: Policy) -> None:
        """Follow a policy that is in force from now on."""
        ...

    def note(self, exchange: Exchange) -> None:
        """Log one request that is over."""
        ...


class Auditor(Protocol):
    """Who writes down what security asks for."""

    def note(self, event: str, **fields: Value) -> None:
        """Have an event written soon; never waits, never fails."""
        ...

    async def required(self, event: str, **fields: Value) -> None:
        """Have an event written, and return once it is.

        Raises:
            Refused: AUDIT_UNAVAILABLE.
        """
        ...


class Vault(Protocol):
    """Who keeps what is in the keystore beside its keys."""

    @property
    def index_key(self) -> bytes:
        """The key under which subjects are found."""
        ...

    def random_bytes(self, count: int, /) -> bytes:
        """Return random bytes for a key."""
        ...

    def fetch(self, names: Iterable[Name]) -> Awaitable[Mapping[Name, bytes]]:
        """Return the entries that are there; awaited, may raise KEYS_UNAVAILABLE."""
        ...

    def add(self, entries: Mapping[Name, bytes]) -> Awaitable[None]:
        """Add entries; awaited, may raise KEYS_UNAVAILABLE."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """What is in force: swapped whole at a reload, held by each request.

    Attributes:
        policy: the rules.
        authenticator: verifies tokens.
        ciphers: encrypt and decrypt.
        limit_secret: hashes what limits count by and may be a secret.
        vault: has what is in the keystore beside its keys; None without one.
    """

    policy: Policy
    authenticator: Authenticator
    ciphers: Ciphers
    limit_secret: bytes = b""
    vault: Vault | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Time and randomness, bound by the composition root.

    Attributes:
        wall: epoch seconds, for tokens.
        monotonic: seconds, for durations.
        request_id: a new id for every call.
    """

    wall: Callable[[], float]
    monotonic: Callable[[], float]
    request_id: Callable[[], str]
