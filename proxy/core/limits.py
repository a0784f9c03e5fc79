"""From a rule's limits to buckets, and from grants to what clients are told.

A bucket's key is unambiguous and safe whatever a subject holds: braces, NUL, newlines
or ten kilobytes never make it another bucket. The fields and their values are those of
draft-ietf-httpapi-ratelimit-headers-11.
"""

import dataclasses
import hashlib
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from proxy.core.bucket import Grant, RateLimit
from proxy.core.policy import Limit, Per

_PLAIN = re.compile(r"[A-Za-z0-9._@:-]{1,64}").fullmatch
_UNSAFE_NAME = re.compile(r"[^A-Za-z0-9._#-]")


class Take(NamedTuple):
    """One bucket to take from.

    Attributes:
        key: of the bucket in any store.
        limit: its rate and burst.
        id: the limit's name in the policy.
    """

    key: str
    limit: RateLimit
    id: str


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
    """

    id: str
    per: str
    role: str | None
    burst: int | None
    remaining: int | None
    reset_after: float


def bucket_key(limit: Limit, rate: RateLimit, role: str | None, who: str) -> str:
    """Return the key of the bucket of ``who``.

    The braces make Redis Cluster put all buckets of one subject into one slot. The
    numbers of the rate are part of the key, so a changed rate begins with full
    buckets instead of reading old levels in new units.
    """
    kind = limit.per.value[0]
    if _PLAIN(who) is None:
        digest = hashlib.blake2b(who.encode("utf-8", "surrogatepass"), digest_size=16)
        who, kind = digest.hexdigest(), kind + "h"
    suffix = f"{role or '*'}:{rate.refill}:{rate.token}:{rate.capacity}"
    return f"lb:{{{kind}:{who}}}:{limit.id}:{suffix}"


def takes_for(
    limits: Sequence[Limit], *, role: str, subject: str, client: str
) -> list[Take]:
    """Return the buckets that a request takes from.

    Args:
        limits: of the rule.
        role: the acting role; "" without a token.
        subject: the verified subject; "" without a token.
        client: the client's address.
    """
    takes = []
    for limit in limits:
        own = role if role in limit.rates else None
        rate = limit.rates[own]
        if rate is not None:
            who = subject if limit.per is Per.SUBJECT else client
            takes.append(Take(bucket_key(limit, rate, own, who), rate, limit.id))
    return takes


def _name(limit_id: str) -> str:
    return _UNSAFE_NAME.sub("_", limit_id)


def limit_fields(
    takes: Sequence[Take], grants: Sequence[Grant]
) -> tuple[tuple[str, str], ...]:
    """Return RateLimit-Policy and RateLimit for the answer, as (name, value).

    ``q`` is the quota per window ``w`` in seconds, ``r`` what remains now and ``t`` the
    seconds until more than that is there again.
    """
    policy = ", ".join(
        f'"{_name(take.id)}";q={take.limit.count};w={take.limit.window_seconds}'
        for take in takes
    )
    state = ", ".join(
        f'"{_name(take.id)}";r={grant.remaining};t={math.ceil(grant.reset_after)}'
        for take, grant in zip(takes, grants, strict=True)
    )
    return ("RateLimit-Policy", policy), ("RateLimit", state)


def retry_after(grants: Sequence[Grant]) -> str:
    """Return Retry-After for a refusal: whole seconds, rounded up, at least 1."""
    waits = [grant.retry_after for grant in grants if not grant.allowed]
    longest = max((wait for wait in waits if wait < math.inf), default=86_400.0)
    return str(max(1, math.ceil(longest)))
