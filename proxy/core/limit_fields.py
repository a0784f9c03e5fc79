"""What clients are told of the limits that they were taken from.

The field names and their values are those of draft-ietf-httpapi-ratelimit-headers-11,
which is not an RFC yet.
"""

import math
from collections.abc import Sequence

from proxy.core.bucket import MICROSECONDS, Grant, RateLimit
from proxy.core.errors import Refused
from proxy.core.limits import Take
from proxy.core.reasons import Reason


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
        Refused: RATE_LIMITED with Retry-After, when a bucket had not enough;
            LIMITS_UNAVAILABLE, when none of them is known to be empty.
    """
    for grant in grants:
        if not grant.allowed:
            break
    else:
        return limit_lines(takes, grants)
    _refuse_without_store(takes, grants)
    names = ", ".join(
        take.id for take, grant in zip(takes, grants, strict=True) if not grant.allowed
    )
    raise Refused(
        Reason.RATE_LIMITED,
        f"Used up: {names}.",
        (("Retry-After", retry_after(grants)), *limit_fields(takes, grants)),
    )


def _refuse_without_store(takes: Sequence[Take], grants: Sequence[Grant]) -> None:
    """Refuse when nothing refuses but limits that cannot be counted now."""
    refusals = [
        (take, grant)
        for take, grant in zip(takes, grants, strict=True)
        if not grant.allowed
    ]
    if all(grant.lost for _, grant in refusals):
        names = ", ".join([take.id for take, _ in refusals])
        raise Refused(
            Reason.LIMITS_UNAVAILABLE,
            f"Cannot be counted now: {names}.",
            (("Retry-After", retry_after(grants)),),
        )
