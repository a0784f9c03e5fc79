"""What a request takes from its limits: a stage of ``Pipeline.handle``."""

from proxy.core.exchange import Exchange
from proxy.core.limits import Take, takes_for
from proxy.core.policy import Rule


def takes_of(rule: Rule, exchange: Exchange) -> list[Take]:
    """Return the buckets that a request takes from."""
    if not rule.limits:
        return []
    return takes_for(
        rule.limits,
        role=exchange.role,
        subject=exchange.subject,
        client=exchange.client,
    )
