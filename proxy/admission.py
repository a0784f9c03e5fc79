"""Who a request is from, and whether that one may: authenticate, authorise.

Stages of ``Pipeline.handle``. What a token proves is ``core.authn``'s, what a role may
``core.authz``'s; here the two are asked with what the request and the clock say.
"""

from collections.abc import Callable

from proxy.core.authn import Principal, Unsettled
from proxy.core.authz import acting_role
from proxy.core.claims import refused
from proxy.core.errors import Refused
from proxy.core.exchange import Exchange
from proxy.core.headers import RequestHeaders
from proxy.core.policy import Rule
from proxy.core.reasons import Reason
from proxy.ports import Inquiries, Snapshot


class Admission:
    """Authenticates and authorises.

    Args:
        wall: epoch seconds, for the time claims of tokens.
        inquiries: asks issuers.
    """

    def __init__(self, wall: Callable[[], float], inquiries: Inquiries) -> None:
        self._wall = wall
        self._inquiries = inquiries

    def admitted(
        self,
        snapshot: Snapshot,
        rule: Rule,
        headers: RequestHeaders,
        exchange: Exchange,
    ) -> bytes | None:
        """Return the field lines that tell the backend who it is.

        Returns:
            None when only ``ask`` can tell, which waits.

        Raises:
            Refused: the token is not good, or its roles may not.
        """
        if rule.allow is None:
            return b""
        try:
            principal = self._authenticated(snapshot, headers)
        except Unsettled:
            return None
        return _authorised(principal, snapshot, rule, exchange)

    async def ask(
        self,
        snapshot: Snapshot,
        rule: Rule,
        headers: RequestHeaders,
        exchange: Exchange,
    ) -> bytes:
        """Do as ``admitted`` does, but ask the issuer first.

        Raises:
            Refused: ISSUER_UNAVAILABLE, or as ``admitted`` does.
        """
        try:
            principal = self._authenticated(snapshot, headers)
        except Unsettled as question:
            if not await self._inquiries.inquire(question):
                raise refused(Reason.ISSUER_UNAVAILABLE) from None
            principal = self._authenticated(snapshot, headers)
        return _authorised(principal, snapshot, rule, exchange)

    def _authenticated(self, snapshot: Snapshot, headers: RequestHeaders) -> Principal:
        return snapshot.authenticator.authenticate(
            headers.noted.get(b"authorization"), self._wall()
        )


def _authorised(
    principal: Principal, snapshot: Snapshot, rule: Rule, exchange: Exchange
) -> bytes:
    exchange.subject = principal.subject
    try:
        role = exchange.role = acting_role(principal, rule.allow or frozenset())
    except Refused:
        # Observers are told which role of the policy it was that may not.
        exchange.role = snapshot.policy.known_role(principal.roles)
        raise
    return b"X-Lumina-Subject: %b\r\nX-Lumina-Role: %b\r\n" % (
        principal.subject_value,
        role.encode("ascii"),
    )
