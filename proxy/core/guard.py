"""What a rule asks beside a role: where from, with which scopes, whose, and when.

Every part may refuse and none can allow what another refuses, so their order only
decides which reason is told: the address, which needs no token, first; then the log-in,
scopes, owner and condition.
"""

import dataclasses
import datetime as dt
from typing import Final
from urllib.parse import unquote

from proxy.core.addresses import Addresses
from proxy.core.authn import CHALLENGE, Principal
from proxy.core.conditions import PATH, Condition, UndecidedError
from proxy.core.errors import Refused
from proxy.core.headers import RequestHeaders
from proxy.core.reasons import Reason
from proxy.core.routing import Pattern
from proxy.core.step_up import StepUp

_UNSEEN: Final = frozenset((b"authorization", b"cookie"))
"""Secrets, of which a condition would only be another reader."""


class Asked:
    """What a guard may look at of one request.

    Attributes:
        method: upper case.
        path: the canonical path, without its query.
        headers: the examined section.
        client: the address of the client, as far as it is believed.
        now: epoch seconds.
        principal: who is asking; None without a token.
        role: the acting role; "" without a token.
    """

    __slots__ = ("client", "headers", "method", "now", "path", "principal", "role")

    def __init__(
        self, method: str, path: str, headers: RequestHeaders, client: str, now: float
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.client = client
        self.now = now
        self.principal: Principal | None = None
        self.role = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """The conditions of a rule.

    Attributes:
        addresses: where requests may come from; None for anywhere.
        scopes: the token must have them all.
        owner: the parameter of the path that must be the token's subject; None for
            none.
        condition: what must be true; None for nothing.
        step_up: what is asked of the log-in; None for nothing.
        places: the parameters of the path, each with the number of its segment.
        rest: the parameter that is the rest of the path; "" for none.
    """

    addresses: Addresses | None = None
    scopes: tuple[str, ...] = ()
    owner: str | None = None
    condition: Condition | None = None
    step_up: StepUp | None = None
    places: tuple[tuple[str, int], ...] = ()
    rest: str = ""

    @classmethod
    def of(
        cls,
        pattern: Pattern,
        *,
        addresses: Addresses | None,
        scopes: tuple[str, ...],
        owner: str | None,
        condition: Condition | None,
        step_up: StepUp | None = None,
    ) -> "Guard | None":
        """Return the guard of a rule with this path; None when it asks for nothing."""
        if not (addresses or scopes or owner or condition or step_up):
            return None
        free = [n for n, one in enumerate(pattern.segments, start=1) if one is None]
        if pattern.rest:
            free.append(len(pattern.segments) + 1)
        return cls(
            addresses=addresses,
            scopes=scopes,
            owner=owner,
            condition=condition,
            step_up=step_up,
            places=tuple(zip(pattern.params, free, strict=True)),
            rest=pattern.params[-1] if pattern.rest else "",
        )

    @property
    def asks_claims(self) -> bool:
        """Whether it looks at claims of the token beside subject and roles."""
        return bool(self.scopes) or (
            self.condition is not None and "claims" in self.condition.names
        )

    def check_address(self, client: str) -> None:
        """Refuse whoever may not ask from there, before a token is looked at.

        Raises:
            Refused: ADDRESS_NOT_ALLOWED.
        """
        if self.addresses is not None and not self.addresses.admits(client):
            raise Refused(Reason.ADDRESS_NOT_ALLOWED)

    def check(self, asked: Asked) -> None:
        """Check everything but the address.

        Raises:
            Refused: LOGIN_TOO_WEAK, SCOPE_MISSING, NOT_OWNER, CONDITION_NOT_MET or
                CONDITION_FAILED.
        """
        principal = asked.principal
        if principal is not None:
            if self.step_up is not None:
                self.step_up.check(principal, asked.now)
            if self.scopes:
                self._check_scopes(principal)
            if self.owner is not None:
                self._check_owner(principal, asked.path)
        if self.condition is not None:
            self._check_condition(self.condition, asked)

    def _check_scopes(self, principal: Principal) -> None:
        has = scopes_of(principal)
        if not has.issuperset(self.scopes):
            # RFC 6750, 3.1: the scopes that are needed, not those that are there.
            needed = f', error="insufficient_scope", scope="{" ".join(self.scopes)}"'
            headers = (("WWW-Authenticate", CHALLENGE + needed),)
            raise Refused(Reason.SCOPE_MISSING, headers=headers)

    def _check_owner(self, principal: Principal, path: str) -> None:
        for name, value in self._params(path):
            # Not decoded twice, and not at all where it is not Unicode.
            if name == self.owner and value == principal.subject:
                return
        raise Refused(Reason.NOT_OWNER)

    def _check_condition(self, condition: Condition, asked: Asked) -> None:
        try:
            if condition.holds(self._values(condition, asked)):
                return
        except UndecidedError as error:
            raise Refused(Reason.CONDITION_FAILED, str(error)) from None
        raise Refused(Reason.CONDITION_NOT_MET)

    def _values(self, condition: Condition, asked: Asked) -> dict[str, object]:
        """Return a value for each variable that the condition may ask for."""
        names, principal = condition.names, asked.principal
        values: dict[str, object] = {
            "method": asked.method,
            "client": asked.client,
            "role": asked.role,
        }
        if principal is not None:
            values["claims"] = principal.claims
        if "now" in names:
            values["now"] = dt.datetime.fromtimestamp(asked.now, dt.UTC)
        if "headers" in names:
            values["headers"] = _seen(asked.headers)
        if self.places:
            values |= {PATH + name: value for name, value in self._params(asked.path)}
        return values

    def _params(self, path: str) -> list[tuple[str, str]]:
        """Return the parameters, decoded; one that is not UTF-8 is left out."""
        segments = path.split("/")
        params = []
        for name, place in self.places:
            last = None if name == self.rest else place + 1
            try:
                value = unquote("/".join(segments[place:last]), errors="strict")
            except UnicodeDecodeError:
                continue
            params.append((name, value))
        return params


def scopes_of(principal: Principal) -> frozenset[str]:
    """Return the scopes of a token.

    They are in ``scope``, separated by spaces (RFC 8693, 4.2; RFC 9068, 2.2.3), or
    where a token has none, in ``scp``, which is a list to some issuers.
    """
    claims = principal.claims
    value = claims.get("scope", claims.get("scp"))
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list):
        return frozenset()
    return frozenset(word for word in words if isinstance(word, str))


def _seen(headers: RequestHeaders) -> dict[str, str]:
    """Return the forwarded fields by lower-case name, repeated ones joined."""
    seen = {"host": headers.host.decode("latin-1")}
    for lower, _, value in headers.kept:
        if lower not in _UNSEEN:
            name, text = lower.decode("latin-1"), value.decode("latin-1")
            seen[name] = f"{seen[name]}, {text}" if name in seen else text
    return seen
