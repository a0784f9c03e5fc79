"""Who a request is from, and whether that one may: authenticate, authorise.

Stages of ``Pipeline.handle``. What a token proves is ``core.authn``'s, what a role may
``core.authz``'s, what else a rule asks ``core.guard``'s; here they are asked with what
the request and the clock say.

In shadow mode the same is asked. The first refusal is noted instead of raised, and the
backend is told what was proved: the subject if the token is good, and its role.

What only the issuer of a token can tell takes a second, waiting call, and nobody else
pays for it: ``admit`` gives up, and ``ask`` begins again with what the issuer said.
"""

from collections.abc import Callable

from proxy.core.authn import Principal, Unsettled
from proxy.core.authz import acting_role
from proxy.core.belonging import tenant_of
from proxy.core.claims import refused
from proxy.core.errors import Refused
from proxy.core.exchange import Exchange
from proxy.core.guard import Asked
from proxy.core.headers import RequestHeaders
from proxy.core.message import Request
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

    def admit(
        self,
        snapshot: Snapshot,
        rule: Rule,
        request: Request,
        headers: RequestHeaders,
        exchange: Exchange,
    ) -> bytes | None:
        """Admit a request; return the field lines that tell the backend who asks.

        Returns:
            None when only ``ask`` can tell, which waits.

        Raises:
            Refused: the token is not good, its roles may not, or something else that
                the rule asks for is not so.
        """
        try:
            return self._decided(snapshot, rule, request, headers, exchange, None)
        except Unsettled:
            return None

    async def ask(
        self,
        snapshot: Snapshot,
        rule: Rule,
        request: Request,
        headers: RequestHeaders,
        exchange: Exchange,
    ) -> bytes:
        """Do as ``admit`` does, but ask the issuer first.

        Raises:
            Refused: ISSUER_UNAVAILABLE, or as ``admit`` does.
        """
        found: Principal | Refused
        try:
            found = self._authenticated(snapshot, headers)
        except Unsettled as question:
            found = refused(Reason.ISSUER_UNAVAILABLE)
            if await self._inquiries.inquire(question):
                found = self._settled(snapshot, headers)
        return self._decided(snapshot, rule, request, headers, exchange, found)

    def _settled(
        self, snapshot: Snapshot, headers: RequestHeaders
    ) -> Principal | Refused:
        """Authenticate once more, and for the last time."""
        try:
            return self._authenticated(snapshot, headers)
        except Refused as still:
            return Refused(still.reason, still.detail, still.headers)

    def _authenticated(self, snapshot: Snapshot, headers: RequestHeaders) -> Principal:
        return snapshot.authenticator.authenticate(
            headers.noted.get(b"authorization"), self._wall()
        )

    def _decided(  # noqa: PLR0917 - all that a request is, and what is known of it
        self,
        snapshot: Snapshot,
        rule: Rule,
        request: Request,
        headers: RequestHeaders,
        exchange: Exchange,
        found: Principal | Refused | None,
    ) -> bytes:
        """Decide; ``found`` is what authenticating came to, if that is known."""
        if rule.shadow:
            return self._observed(snapshot, rule, request, headers, exchange, found)
        guard = rule.guard
        if guard is not None:
            asked = self._asked(request, headers, exchange)
            guard.check_address(asked.client)
            identity = self._identified(snapshot, rule, headers, exchange, asked, found)
            guard.check(asked)
            return identity
        return self._identified(snapshot, rule, headers, exchange, None, found)

    def _identified(  # noqa: PLR0917 - as ``_decided``
        self,
        snapshot: Snapshot,
        rule: Rule,
        headers: RequestHeaders,
        exchange: Exchange,
        asked: Asked | None,
        found: Principal | Refused | None,
    ) -> bytes:
        """Authenticate and authorise by role, where the rule asks for a token."""
        if rule.allow is None:
            return b""
        if found is None:
            principal = self._authenticated(snapshot, headers)
        elif isinstance(found, Refused):
            raise found
        else:
            principal = found
        exchange.principal = principal
        exchange.subject = principal.subject
        if asked is not None:
            asked.principal = principal
        try:
            role = exchange.role = acting_role(principal, rule.allow)
        except Refused:
            # Observers are told which role of the policy it was that may not.
            exchange.role = snapshot.policy.known_role(principal.roles)
            raise
        if asked is not None:
            asked.role = role
        if snapshot.policy.tenant and rule.protects:
            exchange.tenant = tenant_of(snapshot.policy.tenant, principal)
        return _identity(principal, role)

    def _observed(  # noqa: PLR0917 - as ``_decided``
        self,
        snapshot: Snapshot,
        rule: Rule,
        request: Request,
        headers: RequestHeaders,
        exchange: Exchange,
        found: Principal | Refused | None,
    ) -> bytes:
        """Ask all of it, note the first refusal, and refuse nothing."""
        asked = self._asked(request, headers, exchange)
        guard = rule.guard
        try:
            if guard is not None:
                guard.check_address(asked.client)
        except Refused as refusal:
            exchange.note_shadow(refusal.reason, refusal.detail)
        try:
            self._identified(snapshot, rule, headers, exchange, asked, found)
            if guard is not None:
                guard.check(asked)
        except Unsettled:
            raise
        except Refused as refusal:
            exchange.note_shadow(refusal.reason, refusal.detail)
        principal = asked.principal
        return b"" if principal is None else _identity(principal, exchange.role)

    def _asked(
        self, request: Request, headers: RequestHeaders, exchange: Exchange
    ) -> Asked:
        client = exchange.client
        return Asked(request.method, exchange.path, headers, client, self._wall())


def _identity(principal: Principal, role: str) -> bytes:
    """Return the field lines of somebody; without a role of the policy, none of one."""
    subject = principal.subject_value
    if not role:
        return b"X-Lumina-Subject: %b\r\n" % subject
    return b"X-Lumina-Subject: %b\r\nX-Lumina-Role: %b\r\n" % (
        subject,
        role.encode("ascii"),
    )
