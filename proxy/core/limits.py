"""From a rule's limits to the buckets that a request takes from.

Rules of this file:

1. Two owners never share a bucket, whatever bytes a subject holds: each part of a key
   is quoted, hashed or from a closed set, so a key can be read in one way only.
2. A bucket belongs to one rate. A policy that changes a rate begins with full buckets
   instead of reading old levels in new units.
3. What is the same for every request of a rule and role is computed once (``Quota``).
   A limit that counts by a subject or a client in a bucket, at a fixed cost, is plain,
   and so is its path; what others need is asked for only where one of them is.

What clients are told of them is in ``limit_fields``, what operators in
``limit_status``.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from proxy.core.bucket import BUCKET, HOLD_US, HOLDS, MICROSECONDS, WINDOW, RateLimit
from proxy.core.costs import cost_of
from proxy.core.limit import CostOf, Limit, Precision
from proxy.core.owner import Asking, owner_of, owner_of_parts, quoted
from proxy.core.windows import window_at

_MAX_REMEMBERED: Final = 4096
"""Far above rules x roles; every reload leaves some behind, so they are bounded."""

_MAX_TAKES: Final = 65_536
"""Owners of one quota whose keys are remembered, at a few hundred bytes each."""

KNOWN_AFTERWARDS: Final = (CostOf.BODY, CostOf.RESPONSE_HEADER)

_NEAR: Final = 5
"""A limit is near when less than this part of it is left: a fifth, as envoyproxy/
ratelimit has it."""


class Quota:
    """A limit as one role has it, without what differs from request to request.

    Attributes:
        id: the limit's name in the policy.
        limit: the limit.
        rate: its rate and burst; of a window, until the end of the one it was last.
        per: whose bucket.
        suffix: what follows the owner in a bucket's key.
        name: the limit's name as a structured-field string.
        policy: its item in ``RateLimit-Policy``.
        lines: the two field lines for this limit alone, up to what is left.
        cost: what a take costs, unless the request says so; below 0 in shadow mode.
        arguments: of ``take.lua`` for that cost, as text.
        near: with fewer tokens than these, the limit is near.
        shadow: whether it refuses nobody.
        plain: whether it is a bucket of a subject or client, at a fixed cost.
        on_failure: what the limit does while the store does not answer.
        leased: whether tokens may be taken ahead.
        older: whether clients are told with the older fields, too.
    """

    __slots__ = (
        "_ends_us",
        "_takes",
        "arguments",
        "cost",
        "id",
        "leased",
        "limit",
        "lines",
        "name",
        "near",
        "older",
        "on_failure",
        "per",
        "plain",
        "policy",
        "rate",
        "shadow",
        "suffix",
    )

    def __init__(self, limit: Limit, role: str | None, rate: RateLimit) -> None:
        self.id = limit.id
        self.limit = limit
        self.rate = rate
        self.per = limit.per
        self.on_failure = limit.on_store_failure
        self.leased = limit.precision is Precision.LEASED
        self.older = limit.older
        self.shadow = limit.shadow
        numbers = f"{rate.refill}-{rate.token}-{rate.capacity}"
        if rate.kind != BUCKET:
            numbers = f"{'whb'[rate.kind - 1]}-{rate.count}-{rate.period_us}"
        # Roles without a rate of their own share one bucket. A role named "*" is
        # quoted, as is everything that could end a part of the key.
        shown = "*" if role is None else quote(role, safe="")
        shadow = ":shadow" if limit.shadow else ""
        self.suffix = f":{quote(limit.id, safe='#')}:{shown}:{numbers}{shadow}"
        # RFC 9651 section 3.3.3; quoting leaves no character that needs escaping.
        self.name = '"' + quote(limit.id, safe="#") + '"'
        # The burst and the time it takes to fill: their ratio is the rate.
        self.policy = f"{self.name};q={rate.burst};w={rate.window_seconds}"
        if rate.kind == HOLDS:
            self.policy = f'{self.name};q={rate.burst};qu="concurrent-requests"'
        self.lines = f"RateLimit-Policy: {self.policy}\r\nRateLimit: {self.name};r="
        self.cost = -limit.cost.tokens if limit.shadow else limit.cost.tokens
        self.arguments = arguments_of(rate, self.cost)
        self.near = rate.burst // _NEAR
        self.plain = (
            rate.kind == BUCKET and not limit.parts and limit.cost.of is CostOf.FIXED
        )
        self._ends_us = 0
        self._takes: dict[str, Take] = {}

    def take_of(self, subject: str, client: str) -> "Take":
        """Return the bucket of a subject or client, as ``per`` says; of a plain one."""
        owner = owner_of(self.per, subject, client)
        take = self._takes.get(owner)
        if take is None:
            if len(self._takes) >= _MAX_TAKES:
                self._takes.clear()
            key = f"lb:{{{quoted(owner)}}}{self.suffix}"
            take = self._takes[owner] = Take(key, self.rate, self, self.cost)
        return take

    def take_for(self, asking: Asking) -> "Take":
        """Return what a request takes of a limit of any kind.

        Raises:
            Refused: MALFORMED, when a field that says the cost says no number.
        """
        if self.plain:
            return self.take_of(asking.subject, asking.client)
        if self.rate.kind == WINDOW and asking.now_us >= self._ends_us:
            self._turn(asking.now_us)
        limit = self.limit
        if limit.parts:
            tag, others = owner_of_parts(limit.parts, asking)
        else:
            tag = quoted(owner_of(self.per, asking.subject, asking.client))
            others = ""
        key = f"lb:{{{tag}}}{others}{self.suffix}"
        cost = cost_of(limit.cost, self.rate, asking)
        hold = asking.hold if self.rate.kind == HOLDS else ""
        return Take(key, self.rate, self, -cost if self.shadow else cost, hold)

    def _turn(self, now_us: int) -> None:
        """Begin the window of an instant."""
        rate, zone = self.rate, self.limit.zone
        if zone is None:
            raise TypeError(f"the window {self.id} has no time zone")
        began_us, self._ends_us = window_at(rate.period_us, zone, now_us)
        self.rate = RateLimit.window(rate.count, rate.period_us, self._ends_us)
        self.arguments = arguments_of(self.rate, self.cost)
        fixed = self.suffix.partition("@")[0]
        self.suffix = f"{fixed}@{began_us // MICROSECONDS}"


def arguments_of(limit: RateLimit, cost: int, hold: str = "") -> tuple[bytes, ...]:
    """Return how ``take.lua`` is told of a take.

    Args:
        limit: of any kind.
        cost: tokens, as ``Take.cost``.
        hold: the id of a hold; "" for all.
    """
    units = b"%d" % (cost * limit.token)
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
        cost: tokens; 0 only looks. Below 0, to take: tokens that are taken if they
            are there, and refuse nobody if not; to settle: tokens to give back.
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
        if cost == quota.cost and not hold and limit is quota.rate:
            self.arguments = quota.arguments
        else:
            self.arguments = arguments_of(limit, cost, hold)

    @property
    def id(self) -> str:
        """The limit's name in the policy."""
        return self.quota.id

    @property
    def owner(self) -> str:
        """Whose it is, as it stands in the key, without braces."""
        after = 4 if self.quota.shadow else 3
        owner = self.key.removeprefix("lb:{").rsplit(":", after)[0]
        return owner.replace("}", "", 1)

    def costing(self, cost: int) -> "Take":
        """Return a take of ``cost`` tokens from the same bucket."""
        if cost == self.cost:
            return self
        return Take(self.key, self.limit, self.quota, cost, self.hold)


def asks(takes: Sequence[Take]) -> bool:
    """Say whether anything is to be taken, and not only looked at."""
    for take in takes:  # noqa: SIM110 - a generator for every request costs more
        if take.cost:
            return True
    return False


class Quotas:
    """The quotas of one role.

    Attributes:
        each: in the order of the limits.
        plain: whether they all are.
        settles: whether one of them is only known when the request is over.
    """

    __slots__ = ("each", "limits", "plain", "settles")

    def __init__(self, limits: Sequence[Limit], role: str) -> None:
        self.limits = limits
        self.each: list[Quota] = []
        for limit in limits:
            rate = limit.rate_for(role)
            if rate is not None:
                own = role if role in limit.rates else None
                self.each.append(Quota(limit, own, rate))
        self.plain = all(quota.plain for quota in self.each)
        self.settles = any(
            quota.rate.kind == HOLDS or quota.limit.cost.of in KNOWN_AFTERWARDS
            for quota in self.each
        )


_remembered: dict[tuple[int, str], Quotas] = {}


def quotas_of(limits: Sequence[Limit], role: str) -> Quotas:
    """Return the quotas of ``role``, remembered by the identity of ``limits``."""
    # By id, since a Limit holds a mapping and has no hash. The entry holds ``limits``,
    # so nothing else can get this id while the entry exists.
    key = id(limits), role
    entry = _remembered.get(key)
    if entry is None:
        if len(_remembered) >= _MAX_REMEMBERED:
            _remembered.clear()
        entry = _remembered[key] = Quotas(limits, role)
    return entry


def takes_for(
    limits: Sequence[Limit], *, role: str, subject: str, client: str
) -> list[Take]:
    """Return what a request takes from, in the order of ``limits``.

    What it says beside role, subject and client counts as not said.

    Args:
        limits: of the rule; the same object every time, or nothing is remembered.
            Those that are unlimited for ``role`` are left out.
        role: the acting role; "" without a token.
        subject: the verified subject; "" without a token.
        client: the client's address.

    Example:
        >>> from proxy.core.policy import Per
        >>> rate = RateLimit.of(5, 60_000_000)
        >>> api = Limit(id="api", per=Per.SUBJECT, rates={None: rate})
        >>> [take] = takes_for((api,), role="", subject="user_123", client="192.0.2.1")
        >>> take.key
        'lb:{s:user_123}:api:*:1-12000000-60000000'
    """
    quotas = quotas_of(limits, role)
    if quotas.plain:
        return [quota.take_of(subject, client) for quota in quotas.each]
    asking = Asking(subject=subject, client=client, role=role)
    return [quota.take_for(asking) for quota in quotas.each]
