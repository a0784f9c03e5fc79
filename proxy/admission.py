"""Who a request is from, and whether that one may: authenticate, authorise.

Stages of ``Pipeline.handle``. What a token proves is ``core.authn``'s, what a role may
``core.authz``'s; here the two are asked with what the request and the clock say.
"""

from collections.abc import Callable

from proxy.core.authz import acting_role
from proxy.core.errors import Refused
from proxy.core.exchange import Exchange
from proxy.core.headers import RequestHeaders
from proxy.core.policy import Rule
from proxy.ports import Snapshot


class Admission:
    """Authenticates and authorises.

    Args:
        wall: epoch seconds, for the time claims of tokens.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall

    def admitted(
        self,
        snapshot: Snapshot,
        rule: Rule,
        headers: RequestHeaders,
        exchange: Exchange,
    ) -> bytes:
        """Return the field lines that tell the backend who it is.

        Raises:
            Refused: the token is not good, or its roles may not.
        """
        if rule.allow is None:
            return b""
        principal = snapshot.authenticator.authenticate(
            headers.noted.get(b"authorization"), self._wall()
        )
        exchange.principal = principal
        exchange.subject = principal.subject
        try:
            role = exchange.role = acting_role(principal, rule.allow)
        except Refused:
            # Observers are told which role of the policy it was that may not.
            exchange.role = snapshot.policy.known_role(principal.roles)
            raise
        return b"X-Lumina-Subject: %b\r\nX-Lumina-Role: %b\r\n" % (
            principal.subject_value,
            role.encode("ascii"),
        )
