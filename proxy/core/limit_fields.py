"""What clients are told of the limits that they were taken from.

The field names and their values are those of draft-ietf-httpapi-ratelimit-headers-11,
which is not an RFC yet.
"""

import math
from collections.abc import Sequence

from proxy.core.bucket import HOLDS, MICROSECONDS, Grant, RateLimit
from proxy.core.errors import Refused
from proxy.core.limits import Take
from proxy.core.reasons import Reason

Fields = tuple[tuple[str, str], ...]


def limit_fields(takes: Sequence[Take], grants: Sequence[Grant]) -> Fields:
    """Return RateLimit-Policy and RateLimit for the answer, as (name, value).

    Limits in shadow mode are not told of. Where the policy asks for the older fields,
    they are there too, of the limit of which the smallest part is left.

    Args:
        takes: what was taken from; empty for no fields at all.
        grants: the store's answer, in the same order.
    """
    told = [
        (take, grant)
        for take, grant in zip(takes, grants, strict=True)
        if not take.quota.shadow
    ]
    if not told:
        return ()
    policy = ", ".join([take.quota.policy for take, _ in told])
    state = ", ".join(
        [
            f"{take.quota.name};r={grant.remaining}{_effective_window(take, grant)}"
            for take, grant in told
        ]
    )
    fields = ("RateLimit-Policy", policy), ("RateLimit", state)
    if not told[0][0].quota.older:
        return fields
    return fields + _older(*min(told, key=_part_left))


def _part_left(one: tuple[Take, Grant]) -> float:
    take, grant = one
    return grant.remaining / take.limit.burst if grant.allowed else -1.0


def _older(take: Take, grant: Grant) -> Fields:
    """Return the fields that many clients know, of one limit; -Reset in seconds."""
    wait = _wait_of(take, grant)
    fields: Fields = (
        ("X-RateLimit-Limit", str(take.limit.burst)),
        ("X-RateLimit-Remaining", str(grant.remaining)),
    )
    if wait < math.inf:
        fields += (("X-RateLimit-Reset", str(math.ceil(wait))),)
    return fields


def limit_lines(takes: Sequence[Take], grants: Sequence[Grant]) -> bytes:
    """Return ``limit_fields`` as field lines with their CRLF."""
    if len(takes) == 1:  # nearly always
        [take], [grant] = takes, grants
        quota = take.quota
        if not quota.older and not quota.shadow:
            window = _effective_window(take, grant)
            return f"{quota.lines}{grant.remaining}{window}\r\n".encode("ascii")
    fields = limit_fields(takes, grants)
    return "".join([f"{name}: {value}\r\n" for name, value in fields]).encode("ascii")


def _effective_window(take: Take, grant: Grant) -> str:
    """Return the ``t`` parameter (draft section 4.1.2), in whole seconds.

    While tokens remain it is the time until the bucket is full, so that whoever spreads
    ``r`` over ``t`` keeps to the rate. When none is left it is the time until the next
    one, and for a refused take until it could succeed, so that ``Retry-After`` does not
    end before it. Left out when no wait would help, and of what is counted at a time,
    for which nobody knows.
    """
    wait = _wait_of(take, grant)
    if wait == math.inf or take.limit.kind == HOLDS:
        return ""
    return f";t={math.ceil(wait)}"


def _wait_of(take: Take, grant: Grant) -> float:
    if not grant.allowed:
        return grant.retry_after
    if grant.remaining:
        return grant.reset_after
    return next_token_after(take.limit, grant)


def next_token_after(limit: RateLimit, grant: Grant) -> float:
    """Return the seconds until the bucket holds a whole token; 0.0 when it does."""
    if grant.remaining:
        return 0.0
    if not limit.refill:
        return grant.reset_after
    from_one_to_full = (limit.capacity - limit.token) // limit.refill / MICROSECONDS
    return round(grant.reset_after - from_one_to_full, 6)


def retry_after(grants: Sequence[Grant]) -> str:
    """Return Retry-After for a refusal: whole seconds, rounded up, at least 1.

    It is the longest wait of the refused limits; a day when no wait would help.
    """
    waits = [grant.retry_after for grant in grants if not grant.allowed]
    longest = max((wait for wait in waits if wait < math.inf), default=86_400.0)
    return str(max(1, math.ceil(longest)))


def refusal_of(takes: Sequence[Take], grants: Sequence[Grant]) -> Refused:
    """Return the refusal of a request that a limit has not enough for.

    Args:
        takes: what was asked for.
        grants: the store's answer, in the same order. One at least is not allowed
            though its limit is enforced.

    Returns:
        RATE_LIMITED with Retry-After, and the names of the limits; or
        LIMITS_UNAVAILABLE, when none of them is known to be empty.
    """
    refusing = [
        (take, grant)
        for take, grant in zip(takes, grants, strict=True)
        if not grant.allowed and not take.quota.shadow
    ]
    waits = (("Retry-After", retry_after([grant for _, grant in refusing])),)
    names = [take.id for take, _ in refusing]
    if all(grant.lost for _, grant in refusing):
        detail = f"Cannot be counted now: {', '.join(names)}."
        return Refused(Reason.LIMITS_UNAVAILABLE, detail, waits)
    return Refused(
        Reason.RATE_LIMITED,
        f"Used up: {', '.join(names)}.",
        waits + limit_fields(takes, grants),
        violated=tuple(dict.fromkeys(names)),
    )
