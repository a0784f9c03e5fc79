"""What a request takes from its limits: a stage of ``Pipeline.handle``."""

from collections.abc import Sequence

from proxy.core import limit_fields
from proxy.core.bucket import Grant
from proxy.core.errors import Refused
from proxy.core.exchange import Exchange
from proxy.core.limits import Take, takes_for
from proxy.core.policy import Rule


def takes_of(rule: Rule, exchange: Exchange) -> list[Take]:
    """Return the buckets that a request takes from."""
    # In shadow mode, what an earlier stage would have refused gets no further.
    if not rule.limits or exchange.shadow is not None:
        return []
    return takes_for(
        rule.limits,
        role=exchange.role,
        subject=exchange.subject,
        client=exchange.client,
    )


def granted(
    rule: Rule, takes: Sequence[Take], grants: Sequence[Grant], exchange: Exchange
) -> bytes:
    """Return the field lines that tell what is left; none in shadow mode.

    Raises:
        Refused: RATE_LIMITED.
    """
    if not takes:
        return b""
    if not rule.shadow:
        return limit_fields.granted(takes, grants)
    try:
        limit_fields.granted(takes, grants)
    except Refused as refused:
        exchange.note_shadow(refused.reason, refused.detail)
    return b""
