"""What a request takes from its limits: a stage of ``Pipeline.handle``."""

from collections.abc import Sequence

from proxy.core import limit_fields
from proxy.core.bucket import Grant
from proxy.core.errors import Refused
from proxy.core.exchange import Exchange
from proxy.core.forwarding import Network, client_of
from proxy.core.headers import RequestHeaders
from proxy.core.limits import Take, takes_for
from proxy.core.message import Request
from proxy.core.policy import Rule


class Taking:
    """Finds the buckets of a request.

    Args:
        trusted: the networks whose ``X-Forwarded-For`` says who the client is.
    """

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = trusted

    def takes(
        self,
        rule: Rule,
        request: Request,
        headers: RequestHeaders,
        exchange: Exchange,
    ) -> list[Take]:
        """Return the buckets that a request takes from."""
        # In shadow mode, what an earlier stage would have refused gets no further.
        if not rule.limits or exchange.shadow is not None:
            return []
        return takes_for(
            rule.limits,
            role=exchange.role,
            subject=exchange.subject,
            client=client_of(request, headers, self._trusted),
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
        exchange.note_shadow(refused.reason)
    return b""
