"""What travels to Redis: takes in batches, and how long they may take.

Nothing here knows a connection; ``redis_link`` has them.
"""

from collections.abc import Callable, Sequence
from typing import Final

from proxy.core.bucket import BUCKET, Grant, grant_of
from proxy.core.counting import other_grant_of
from proxy.core.limits import Take
from proxy.edge.redis_wire import Reply
from proxy.edge.waiter import Waiter


class RedisTimes:
    """How patient a link is.

    Attributes:
        timeout: seconds that a take waits at the most.
        connect_timeout: seconds for a new connection: a name, a TLS handshake, AUTH,
            the script.
        max_in_flight: batches under way at a time.
        max_failures: failures in a row after which attempts are spaced.
        probe_every: seconds between spaced attempts.
        clock: what the script takes for the time instead of the server's clock, in
            microseconds; None outside of tests.
    """

    __slots__ = (
        "clock",
        "connect_timeout",
        "max_failures",
        "max_in_flight",
        "probe_every",
        "timeout",
    )

    def __init__(  # noqa: PLR0917 - one of each
        self,
        timeout: float,
        connect_timeout: float,
        max_in_flight: int,
        max_failures: int,
        probe_every: float,
        clock: Callable[[], int] | None,
    ) -> None:
        self.timeout = timeout
        self.connect_timeout = connect_timeout
        self.max_in_flight = max_in_flight
        self.max_failures = max_failures
        self.probe_every = probe_every
        self.clock = clock


class Part(Waiter[list[Grant]]):
    """Waits for a part of a request, whose other parts are with other servers.

    Attributes:
        local: whether the stand-in answered it.
    """

    __slots__ = ("local",)

    def __init__(self) -> None:
        super().__init__()
        self.local = False


class Told(Part):
    """Stands where somebody waits, for what is settled because the stand-in took it."""


class Loan(Part):
    """Stands where somebody waits, for a bucket that is to hold more for a while.

    Attributes:
        until_us: when it ends, in epoch microseconds.
    """

    __slots__ = ("until_us",)

    def __init__(self, until_us: int) -> None:
        super().__init__()
        self.until_us = until_us


TOLD: Final = Told()


class Sent:
    """What is under way.

    Attributes:
        deadline: loop time at which it has been waited for long enough.
    """

    __slots__ = ("deadline",)

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline


class Call(Sent):
    """A command whose reply is no matter of buckets."""

    __slots__ = ("on_reply",)

    def __init__(self, deadline: float, on_reply: Callable[[Reply], object]) -> None:
        super().__init__(deadline)
        self.on_reply = on_reply


class Batch(Sent):
    """The takes that travel in one command.

    Attributes:
        keys: of the buckets of all requests, in order.
        arguments: of the script, in order.
        requests: the takes of each, and who waits; None or TOLD for those that settle,
            a Loan for one that is lent to.
        alone: whether it is one request whose keys are in one slot, sent with its keys
            declared, as a Redis Cluster wants it to say where they are instead.
        resent: whether the script's text was sent after its digest was not known.
        moves: how often a server has said that the keys are elsewhere.
    """

    __slots__ = ("alone", "arguments", "keys", "moves", "requests", "resent")

    def __init__(self, deadline: float, *, alone: bool) -> None:
        super().__init__(deadline)
        self.alone = alone
        self.keys: list[str] = []
        self.arguments: list[int | bytes] = []
        self.requests: list[tuple[Sequence[Take], Waiter[list[Grant]] | None]] = []
        self.resent = False
        self.moves = 0

    def add(self, takes: Sequence[Take], waiter: Waiter[list[Grant]] | None) -> None:
        """Add the takes of one request; nobody waits for those that settle."""
        self.requests.append((takes, waiter))
        arguments = self.arguments
        if isinstance(waiter, Loan):
            arguments.append(0)
        else:
            settles = waiter is None or waiter is TOLD
            arguments.append(-len(takes) if settles else len(takes))
        for take in takes:
            self.keys.append(take.key)
            arguments += take.arguments
        if isinstance(waiter, Loan):
            arguments.append(waiter.until_us)


def is_for(batch: Batch, reply: Reply) -> bool:
    """Say whether a reply has what ``take.lua`` says of every bucket."""
    return (
        isinstance(reply, list)
        and len(reply) == 2 * len(batch.keys)
        and all(type(number) is int for number in reply)
        and min(reply[1::2]) >= 0
    )


def grants_of(
    takes: Sequence[Take], reply: Sequence[int], at: int
) -> tuple[list[Grant], bool]:
    """Return what a reply grants a request, and whether it got all that it must have.

    Args:
        takes: of the request.
        reply: of the script.
        at: where in it the request's begins.
    """
    grants = []
    everywhere = True
    for take in takes:
        grant = _grant_of(take, reply[at], reply[at + 1])
        everywhere = everywhere and (grant.allowed or take.cost < 0)
        grants.append(grant)
        at += 2
    return grants, everywhere


def _grant_of(take: Take, verdict: int, level: int) -> Grant:
    """Return the grant that two numbers of a reply are."""
    allowed = verdict > 0
    ahead_us = verdict - 1 if allowed else -verdict
    limit, cost = take.limit, abs(take.cost)
    if limit.kind == BUCKET:
        return grant_of(limit, level, cost, allowed=allowed, ahead_us=ahead_us)
    return other_grant_of(limit, level, cost, allowed=allowed, ahead_us=ahead_us)
