"""From a rule's limits to buckets, and from grants to what clients are told.

Rules of this file:

1. Two owners never share a bucket, whatever bytes a subject holds: each part of a key
   is quoted, hashed or from a closed set, so a key can be read in one way only.
2. A bucket belongs to one rate. A policy that changes a rate begins with full buckets
   instead of reading old levels in new units.
3. What is the same for every request of a rule and role is computed once (``Quota``).

The field names and their values are those of draft-ietf-httpapi-ratelimit-headers-11,
which is not an RFC yet.
"""

import dataclasses
import functools
import hashlib
import ipaddress
import math
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from proxy.core.bucket import MICROSECONDS, Grant, RateLimit
from proxy.core.errors import Refused
from proxy.core.policy import Limit, Per
from proxy.core.reasons import Reason

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
    """

    __slots__ = (
        "_takes",
        "arguments",
        "id",
        "lines",
        "name",
        "per",
        "policy",
        "rate",
        "suffix",
    )

    def __init__(self, limit: Limit, role: str | None, rate: RateLimit) -> None:
        self.id = limit.id
        self.rate = rate
        self.per = limit.per
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
        self.arguments = tuple(
            b"%d" % number for number in (rate.refill, rate.capacity, rate.token)
        )
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


class Take:
    """One bucket to take from.

    Attributes:
        key: of the bucket in any store.
        limit: its rate and burst.
        quota: the limit that the bucket belongs to.
    """

    __slots__ = ("key", "limit", "quota")

    def __init__(self, key: str, limit: RateLimit, quota: Quota) -> None:
        self.key = key
        self.limit = limit
        self.quota = quota

    @property
    def id(self) -> str:
        """The limit's name in the policy."""
        return self.quota.id


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
        >>> rate = RateLimit.of(5, 60 * MICROSECONDS)
        >>> api = Limit(id="api", per=Per.SUBJECT, rates={None: rate})
        >>> [take] = takes_for((api,), role="", subject="user_123", client="192.0.2.1")
        >>> take.key
        'lb:{s:user_123}:api:*:1-12000000-60000000'
    """
    return [quota.take_of(subject, client) for quota in _quotas(limits, role)]


def limit_fields(
    takes: Sequence[Take], grants: Sequence[Grant]
) -> tuple[tuple[str, str], ...]:
    """Return RateLimit-Policy and RateLimit for the answer, as (name, value).

    Args:
        takes: what was taken from; empty for no fields at all.
        grants: the store's answer, in the same order.
    """
    if not takes:
        return ()
    policy = ", ".join([take.quota.policy for take in takes])
    state = ", ".join(
        [
            f"{take.quota.name};r={grant.remaining}{_effective_window(take, grant)}"
            for take, grant in zip(takes, grants, strict=True)
        ]
    )
    return ("RateLimit-Policy", policy), ("RateLimit", state)


def limit_lines(takes: Sequence[Take], grants: Sequence[Grant]) -> bytes:
    """Return ``limit_fields`` as field lines with their CRLF."""
    if len(takes) == 1:  # nearly always
        [take], [grant] = takes, grants
        window = _effective_window(take, grant)
        return f"{take.quota.lines}{grant.remaining}{window}\r\n".encode("ascii")
    fields = limit_fields(takes, grants)
    return "".join([f"{name}: {value}\r\n" for name, value in fields]).encode("ascii")


def _effective_window(take: Take, grant: Grant) -> str:
    """Return the ``t`` parameter (draft section 4.1.2), in whole seconds.

    While tokens remain it is the time until the bucket is full, so that whoever spreads
    ``r`` over ``t`` keeps to the rate. When none is left it is the time until the next
    one, and for a refused take until it could succeed, so that ``Retry-After`` does not
    end before it. Left out when no wait would help.
    """
    if not grant.allowed:
        wait = grant.retry_after
    elif grant.remaining:
        wait = grant.reset_after
    else:
        wait = next_token_after(take.limit, grant)
    return f";t={math.ceil(wait)}" if wait < math.inf else ""


def next_token_after(limit: RateLimit, grant: Grant) -> float:
    """Return the seconds until the bucket holds a whole token; 0.0 when it does."""
    if grant.remaining:
        return 0.0
    from_one_to_full = (limit.capacity - limit.token) // limit.refill / MICROSECONDS
    return round(grant.reset_after - from_one_to_full, 6)


def retry_after(grants: Sequence[Grant]) -> str:
    """Return Retry-After for a refusal: whole seconds, rounded up, at least 1.

    It is the longest wait of the refused limits; a day when no wait would help.
    """
    waits = [grant.retry_after for grant in grants if not grant.allowed]
    longest = max((wait for wait in waits if wait < math.inf), default=86_400.0)
    return str(max(1, math.ceil(longest)))


def granted(takes: Sequence[Take], grants: Sequence[Grant]) -> bytes:
    """Return the field lines that tell what is left.

    Args:
        takes: what was taken from; empty for no lines at all.
        grants: the store's answer, in the same order.

    Raises:
        Refused: RATE_LIMITED with Retry-After, when a bucket had not enough.
    """
    for grant in grants:
        if not grant.allowed:
            break
    else:
        return limit_lines(takes, grants)
    names = ", ".join(
        take.id for take, grant in zip(takes, grants, strict=True) if not grant.allowed
    )
    raise Refused(
        Reason.RATE_LIMITED,
        f"Used up: {names}.",
        (("Retry-After", retry_after(grants)), *limit_fields(takes, grants)),
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LimitStatus:
    """What is left of one limit for one subject or client.

    Attributes:
        id: the limit's name.
        per: "subject" or "client".
        role: whose rate this is; None where the rate is every role's.
        burst: tokens in a full bucket; None for an unlimited role.
        remaining: whole tokens left; None for an unlimited role.
        reset_after: seconds until the bucket is full.
        retry_after: seconds until there is a token; 0.0 when there is one.
    """

    id: str
    per: str
    role: str | None
    burst: int | None = None
    remaining: int | None = None
    reset_after: float = 0.0
    retry_after: float = 0.0

    @property
    def unlimited(self) -> bool:
        """Whether there is no bucket at all."""
        return self.burst is None


Look = tuple[Limit, str | None, Take | None]
"""A limit, whose rate of it is meant, and the bucket; None for an unlimited role."""


def looks_for(limits: Sequence[Limit], role: str | None, who: str) -> list[Look]:
    """Return the buckets to look into to know what somebody has left.

    Args:
        limits: of the rule.
        role: whose rate; None for every rate there is.
        who: the subject, or the client's address where a limit is per client.
    """
    looks: list[Look] = []
    for limit in limits:
        own = role if role in limit.rates else None
        for name in limit.rates if role is None else (own,):
            rate = limit.rates[name]
            take = None
            if rate is not None:
                take = Quota(limit, name, rate).take_of(who, who)
            looks.append((limit, name, take))
    return looks


def status_of(look: Look, grant: Grant | None) -> LimitStatus:
    """Say what a look found; ``grant`` is None where there is no bucket."""
    limit, role, take = look
    if take is None or grant is None:
        return LimitStatus(id=limit.id, per=limit.per.value, role=role)
    return LimitStatus(
        id=limit.id,
        per=limit.per.value,
        role=role,
        burst=take.limit.burst,
        remaining=grant.remaining,
        reset_after=grant.reset_after,
        retry_after=next_token_after(take.limit, grant),
    )
