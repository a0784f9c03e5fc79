"""Upgrade: what a request offers to become, and what of it a rule lets happen.

RFC 9110 section 7.8. An offer is forwarded only as far as the rule allows it; one that
is not forwarded is declined by answering the request as any other.
"""

from typing import Final

from proxy.core.authn import Principal
from proxy.core.headers import RequestHeaders
from proxy.core.message import RawHeaders, Request, Whole
from proxy.core.policy import Rule, Upgrade

WEBSOCKET: Final = b"websocket"


class Offer(Whole):
    """Another protocol that a connection may go on in, in place of a request's body.

    As a body it has no bytes: what follows the head is not the request's any more.

    Attributes:
        protocols: as the client named them, in its order; never empty.
        rule: the id of the rule that lets it.
        terms: what the rule says of the time after.
        principal: who asks, verified; None without a token.
    """

    __slots__ = ("principal", "protocols", "rule", "terms")

    def __init__(
        self,
        protocols: tuple[bytes, ...],
        rule: str,
        terms: Upgrade,
        principal: Principal | None,
    ) -> None:
        super().__init__(b"")
        self.protocols = protocols
        self.rule = rule
        self.terms = terms
        self.principal = principal

    @property
    def line(self) -> bytes:
        """The field lines that make the offer to the backend."""
        return switching_lines(b", ".join(self.protocols))

    @property
    def expires_at(self) -> float:
        """Epoch seconds at which the tunnel ends with its token; never is infinite."""
        if self.principal is None or not self.terms.close_on_expiry:
            return float("inf")
        return self.principal.expires_at + self.principal.leeway

    def taken(self, answer: RawHeaders) -> bytes | None:
        """Return which protocol a 101 takes, in lower case; None if not one of these.

        Args:
            answer: its header section.
        """
        named = [value for lower, _, value in answer if lower == b"upgrade"]
        if len(named) != 1:
            return None
        protocol = named[0].strip().lower()
        return protocol if protocol in map(bytes.lower, self.protocols) else None


def offer_of(
    rule: Rule, request: Request, headers: RequestHeaders, principal: Principal | None
) -> Offer | None:
    """Return what of a request's offer the rule allows; None for nothing.

    Args:
        rule: that matched.
        request: it has no body.
        headers: its header section, examined.
        principal: who asks, verified; None without a token.
    """
    terms, asked = rule.upgrade, headers.noted.get(b"upgrade")
    if terms is None or asked is None or not request.upgradable:
        return None
    protocols = tuple(
        name
        for name in map(bytes.strip, asked.split(b","))
        if name.lower() in terms.protocols
    )
    if not protocols:
        return None
    # What shadow mode would not refuse a request for, it ends no tunnel for either.
    return Offer(protocols, rule.id, terms, None if rule.shadow else principal)


def switching_lines(protocol: bytes) -> bytes:
    """Return the field lines of an offer, or of a 101 that takes one."""
    return b"Connection: upgrade\r\nUpgrade: %b\r\n" % protocol
