"""What a request takes from its limits: a stage of ``Pipeline.handle``."""

from collections.abc import Sequence

from proxy.core.exchange import Exchange
from proxy.core.forwarding import Network, client_address
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
        if not rule.limits:
            return []
        client = request.peer
        if request.peer_trusted:
            client = client_address(
                client,
                trusted=self._trusted,
                forwarded_for=headers.noted.get(b"x-forwarded-for"),
            )
        return takes_for(
            rule.limits, role=exchange.role, subject=exchange.subject, client=client
        )
