"""From a rule's limits to the buckets that a request takes from.

Rules of this file:

1. Two owners never share a bucket, whatever bytes a subject holds: each part of a key
   is quoted, hashed or from a closed set, so a key can be read in one way only.
2. A bucket belongs to one rate. A policy that changes a rate begins with full buckets
   instead of reading old levels in new units.
3. What is the same for every request of a rule and role is computed once (``Quota``).

What clients are told of them is in ``limit_fields``, what operators in
``limit_status``.
"""

import functools
import hashlib
import ipaddress
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from proxy.core.bucket import BUCKET, HOLD_US, HOLDS, WINDOW, RateLimit
from proxy.core.policy import Limit, Per, Precision

_PLAIN: Final = re.compile(r"[A-Za-z0-9._@:-]{1,64}").fullmatch
"""Owners that stand in a key as they are: no brace, so the hash tag ends once."""

_MAX_REMEMBERED: Final = 4096
"""Far above rules x roles; every reload leaves some behind, so they are bounded."""

_MAX_TAKES: Final = 65_536
"""Owners of one quota whose keys are remembered, at a few hundred bytes each."""


class Quota:
    """A limit as one role has it, without what differs from request to request.

    Attributes:
        id: the limit's name in the policy.
        rate: its rate and burst.
        per: whose bucket.
        suffix: what follows the owner in a bucket's key.
        name: the limit's name as a structured-field string.
        policy: its item in ``RateLimit-Policy``.
        lines: the two field lines for this limit alone, up to what is left.
        arguments: of ``take.lua`` for one token, as text.
        on_failure: what the limit does while the store does not answer.
        leased: whether tokens may be taken ahead.
    """

    __slots__ = (
        "_takes",
        "arguments",
        "id",
        "leased",
        "lines",
        "name",
        "on_failure",
        "per",
        "policy",
        "rate",
        "suffix",
    )

    def __init__(self, limit: Limit, role: str | None, rate: RateLimit) -> None:
        self.id = limit.id
        self.rate = rate
        self.per = limit.per
        self.on_failure = limit.on_store_failure
        self.leased = limit.precision is Precision.LEASED
        numbers = f"{rate.refill}-{rate.token}-{rate.capacity}"
        # Roles without a rate of their own share one bucket. A role named "*" is
        # quoted, as is everything that could end a part of the key.
        shown = "*" if role is None else quote(role, safe="")
        shadow = ":shadow" if limit.shadow else ""
        self.suffix = f"}}:{quote(limit.id, safe='#')}:{shown}:{numbers}{shadow}"
        # RFC 9651 section 3.3.3; quoting leaves no character that needs escaping.
        self.name = '"' + quote(limit.id, safe="#") + '"'
        # The burst and the time it takes to fill: their ratio is the rate.
        self.policy = f"{self.name};q={rate.burst};w={rate.window_seconds}"
        self.lines = f"RateLimit-Policy: {self.policy}\r\nRateLimit: {self.name};r="
        self.arguments = arguments_of(rate, 1)
        self._takes: dict[str, Take] = {}

    def take_of(self, subject: str, client: str) -> "Take":
        """Return the bucket of a subject or client, as ``per`` says."""
        owner = _owner(self.per, subject, client)
        take = self._takes.get(owner)
        if take is None:
            if len(self._takes) >= _MAX_TAKES:
                self._takes.clear()
            key = f"lb:{{{_quoted(owner)}{self.suffix}"
            take = self._takes[owner] = Take(key, self.rate, self)
        return take


def arguments_of(limit: RateLimit, cost: int, hold: str = "") -> tuple[bytes, ...]:
    """Return how ``take.lua`` is told of a take.

    Args:
        limit: of any kind.
        cost: tokens; more than a burst to give back is as much as a burst is.
        hold: the id of a hold; "" for all.
    """
    units = b"%d" % (max(cost, -limit.burst) * limit.token)
    if limit.kind == BUCKET:
        return b"%d" % limit.refill, b"%d" % limit.capacity, units
    count = b"%d" % limit.count
    if limit.kind == WINDOW:
        return b"-1", count, units, b"%d" % limit.until_us
    if limit.kind == HOLDS:
        return b"-2", count, units, hold.encode(), b"%d" % HOLD_US
    waits = limit.wait_us, limit.most_us, limit.period_us
    return b"-3", count, units, *(b"%d" % wait for wait in waits)


class Take:
    """One bucket to take from, or one of the other kinds of ``bucket.RateLimit``.

    Attributes:
        key: of the bucket in any store.
        limit: its rate and burst.
        quota: the limit that the bucket belongs to.
        cost: tokens; 0 only looks. Below 0, tokens to give back, which is for
            ``settle`` alone.
        hold: the id of a hold, which no other hold has; "" for other kinds, and to
            settle or look at all holds.
        arguments: of ``take.lua``, as text.
    """

    __slots__ = ("arguments", "cost", "hold", "key", "limit", "quota")

    def __init__(
        self, key: str, limit: RateLimit, quota: Quota, cost: int = 1, hold: str = ""
    ) -> None:
        self.key = key
        self.limit = limit
        self.quota = quota
        self.cost = cost
        self.hold = hold
        if cost == 1 and not hold and limit is quota.rate:
            self.arguments = quota.arguments
        else:
            self.arguments = arguments_of(limit, cost, hold)

    @property
    def id(self) -> str:
        """The limit's name in the policy."""
        return self.quota.id

    def costing(self, cost: int) -> "Take":
        """Return a take of ``cost`` tokens from the same bucket."""
        if cost == self.cost:
            return self
        return Take(self.key, self.limit, self.quota, cost, self.hold)

    def holding(self, hold: str) -> "Take":
        """Return a take of the hold with this id."""
        return Take(self.key, self.limit, self.quota, 1, hold)


def asks(takes: Sequence[Take]) -> bool:
    """Say whether anything is to be taken, and not only looked at."""
    for take in takes:  # noqa: SIM110 - a generator for every request costs more
        if take.cost:
            return True
    return False


_remembered: dict[tuple[int, str], tuple[Sequence[Limit], list[Quota]]] = {}


def _quotas(limits: Sequence[Limit], role: str) -> list[Quota]:
    """Return the quotas of ``role``, remembered by the identity of ``limits``."""
    # By id, since a Limit holds a mapping and has no hash. The entry holds ``limits``,
    # so nothing else can get this id while the entry exists.
    key = id(limits), role
    entry = _remembered.get(key)
    if entry is None:
        if len(_remembered) >= _MAX_REMEMBERED:
            _remembered.clear()
        quotas = []
        for limit in limits:
            rate = limit.rate_for(role)
            if rate is not None:
                quotas.append(Quota(limit, role if role in limit.rates else None, rate))
        entry = _remembered[key] = limits, quotas
    return entry[1]


def _owner(per: Per, subject: str, client: str) -> str:
    """Return whose bucket it is: a letter for the kind, a colon, and the name."""
    # Without a subject, its limits fall to the client rather than to one common bucket.
    if per is Per.SUBJECT and subject:
        return "s:" + subject
    return "c:" + (_client_group(client) if ":" in client else client)


@functools.lru_cache(maxsize=4096)
def _client_group(address: str) -> str:
    """Return whom an IPv6 address stands for: its /64, or the IPv4 address in it.

    A site has at least a /64 to itself (RFC 6177), so counting addresses would count
    nothing.
    """
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False).network_address)


def _quoted(owner: str) -> str:
    """Return an owner as it stands in a key, between the braces of its hash tag.

    The braces make Redis Cluster put all buckets of one owner into one slot.
    """
    kind, _, who = owner.partition(":")
    if _PLAIN(who):
        return owner
    # surrogatepass: bytes that are not Unicode still make a name.
    digest = hashlib.blake2b(who.encode("utf-8", "surrogatepass"), digest_size=16)
    return f"{kind}h:{digest.hexdigest()}"


def takes_for(
    limits: Sequence[Limit], *, role: str, subject: str, client: str
) -> list[Take]:
    """Return the buckets that a request takes from, in the order of ``limits``.

    Args:
        limits: of the rule; the same object every time, or nothing is remembered.
            Those that are unlimited for ``role`` are left out.
        role: the acting role; "" without a token.
        subject: the verified subject; "" without a token.
        client: the client's address.

    Example:
        >>> rate = RateLimit.of(5, 60_000_000)
        >>> api = Limit(id="api", per=Per.SUBJECT, rates={None: rate})
        >>> [take] = takes_for((api,), role="", subject="user_123", client="192.0.2.1")
        >>> take.key
        'lb:{s:user_123}:api:*:1-12000000-60000000'
    """
    return [quota.take_of(subject, client) for quota in _quotas(limits, role)]
