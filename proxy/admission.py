"""Who a request is from, and whether that one may: authenticate, authorise.

Stages of ``Pipeline.handle``. What a token proves is ``core.authn``'s, what a role may
``core.authz``'s, what else a rule asks ``core.guard``'s; here they are asked with what
the request and the clock say.

In shadow mode the same is asked. The first refusal is noted instead of raised, and the
backend is told what was proved: the subject if the token is good, and its role.
"""

from collections.abc import Callable

from proxy.core.authn import Principal
from proxy.core.authz import acting_role
from proxy.core.errors import Refused
from proxy.core.exchange import Exchange
from proxy.core.guard import Asked
from proxy.core.headers import RequestHeaders
from proxy.core.message import Request
from proxy.core.policy import Rule
from proxy.ports import Snapshot


class Admission:
    """Authenticates and authorises.

    Args:
        wall: epoch seconds, for the time claims of tokens.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall

    def admit(
        self,
        snapshot: Snapshot,
        rule: Rule,
        request: Request,
        headers: RequestHeaders,
        exchange: Exchange,
    ) -> bytes:
        """Admit a request; return the field lines that tell the backend who asks.

        Raises:
            Refused: the token is not good, its roles may not, or something else that
                the rule asks for is not so.
        """
        if rule.shadow:
            return self._observed(snapshot, rule, request, headers, exchange)
        guard = rule.guard
        if guard is not None:
            asked = self._asked(request, headers, exchange)
            guard.check_address(asked.client)
            identity = self._identified(snapshot, rule, headers, exchange, asked)
            guard.check(asked)
            return identity
        return self._identified(snapshot, rule, headers, exchange, None)

    def _identified(
        self,
        snapshot: Snapshot,
        rule: Rule,
        headers: RequestHeaders,
        exchange: Exchange,
        asked: Asked | None,
    ) -> bytes:
        """Authenticate and authorise by role, where the rule asks for a token."""
        if rule.allow is None:
            return b""
        principal = snapshot.authenticator.authenticate(
            headers.noted.get(b"authorization"), self._wall()
        )
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
        return _identity(principal, role)

    def _observed(
        self,
        snapshot: Snapshot,
        rule: Rule,
        request: Request,
        headers: RequestHeaders,
        exchange: Exchange,
    ) -> bytes:
        """Ask all of it, note the first refusal, and refuse nothing."""
        asked = self._asked(request, headers, exchange)
        guard = rule.guard
        try:
            if guard is not None:
                guard.check_address(asked.client)
        except Refused as refused:
            exchange.note_shadow(refused.reason, refused.detail)
        try:
            self._identified(snapshot, rule, headers, exchange, asked)
            if guard is not None:
                guard.check(asked)
        except Refused as refused:
            exchange.note_shadow(refused.reason, refused.detail)
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
