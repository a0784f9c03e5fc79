"""What a policy decides about one request, seen from outside the data path.

Rules of this file:

1. Every verdict comes from the function that the pipeline calls for it. Here is only
   the order of the stages once more, and a test holds it against a running proxy.
2. Nothing is taken, sent or stored: limits and the body are described, not applied.
"""

import dataclasses
import enum
import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jwt

from proxy.core.authn import Authenticator, Issuer, Principal, VerificationKey
from proxy.core.authz import acting_role
from proxy.core.belonging import tenant_of
from proxy.core.errors import Refused
from proxy.core.fields import Selection
from proxy.core.guard import Asked
from proxy.core.headers import RequestHeaders
from proxy.core.limit import Limit
from proxy.core.limits import Take, takes_for
from proxy.core.parameters import Parameters
from proxy.core.policy import Policy, Rule, View
from proxy.core.reasons import Reason
from proxy.core.routing import Ambiguity, Pattern, Router
from proxy.core.target import split_target
from proxy.core.workbench.wording import methods_text

Identify = Callable[[], Principal]
"""Says who is asking, or raises the ``Refused`` of authentication."""

_EVERY_AMBIGUITY = frozenset(Ambiguity)
_STAND_IN = b"not a secret: nothing but a test case is signed with this"


class Stage(enum.Enum):
    """A stage of the data path that a policy decides."""

    MATCH = "match"
    ADDRESS = "address"
    AUTHENTICATE = "authenticate"
    AUTHORISE = "authorise"
    LIMITS = "limits"
    ENCRYPT = "encrypt"
    DECRYPT = "decrypt"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a rule may ask about beside a token.

    Attributes:
        client: the address of the client.
        headers: fields by lower-case name.
        now: epoch seconds.
    """

    client: str
    headers: Mapping[str, str]
    now: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a policy says about one request.

    Attributes:
        method: as asked.
        path: the canonical path, which would be forwarded; as asked when no rule
            matched.
        rule: that matched; None for none.
        params: the path's parameters.
        principal: who is asking; None when the rule asks nobody, or was refused.
        role: the acting role; "" without one.
        refused: why the request goes no further; None when it is allowed.
        stage: the one that refused; None when the request is allowed.
        granted: whether what the rule asks beside a role was taken for granted.
        takes: the buckets that it takes from; one that is full of tokens lets it pass.
        unlimited: limits of the rule that know no limit for this role.
        encrypted: (place, field) of the request: JSONPaths of its body, and parameters
            of its query or form.
        shown: (JSONPath, field, view) of the answer's body.
    """

    method: str
    path: str
    rule: Rule | None = None
    params: Mapping[str, str] = dataclasses.field(default_factory=dict)
    principal: Principal | None = None
    role: str = ""
    refused: Refused | None = None
    stage: Stage | None = None
    granted: bool = False
    takes: tuple[Take, ...] = ()
    unlimited: tuple[Limit, ...] = ()
    encrypted: tuple[tuple[str, str], ...] = ()
    shown: tuple[tuple[str, str, View], ...] = ()

    @property
    def reason(self) -> Reason | None:
        """The reason for the refusal; None when the request is allowed."""
        return self.refused.reason if self.refused else None

    @property
    def fields_hidden(self) -> frozenset[str]:
        """The fields of the answer of which the role sees a mask, or less."""
        return frozenset(
            field for _, field, seen in self.shown if seen is not View.PLAIN
        )

    def fields_seen(self, view: View) -> frozenset[str]:
        """Return the fields of the answer that the role sees so."""
        return frozenset(field for _, field, seen in self.shown if seen is view)


def decide(
    policy: Policy,
    method: str,
    target: str,
    identify: Identify,
    facts: Facts | None = None,
) -> Decision:
    """Return what ``policy`` says about a request.

    Args:
        policy: to ask.
        method: upper case, as methods are.
        target: the path, with or without a query.
        identify: called when the rule needs to know who is asking.
        facts: what else the rule may ask about; None takes for granted that it is as
            the rule wants it.
    """
    try:
        path, _ = split_target(target, b"")
        match = policy.router.match(method, path)
    except Refused as refused:
        return Decision(method=method, path=target, refused=refused, stage=Stage.MATCH)
    rule = match.rule
    decision = Decision(
        method=method,
        path=match.path,
        rule=rule,
        params=match.params,
        granted=rule.guard is not None and facts is None,
    )
    guard = rule.guard if facts else None
    stage = Stage.ADDRESS
    try:
        if guard and facts:
            guard.check_address(facts.client)
        if rule.allow is not None:
            stage = Stage.AUTHENTICATE
            principal = identify()
            decision = dataclasses.replace(decision, principal=principal)
            stage = Stage.AUTHORISE
            role = acting_role(principal, rule.allow)
            decision = dataclasses.replace(decision, role=role)
        stage = Stage.AUTHORISE
        if policy.tenant and rule.protects and facts:
            tenant_of(policy.tenant, decision.principal)
        if guard and facts:
            guard.check(_asked(decision, facts))
    except Refused as refused:
        return dataclasses.replace(decision, refused=refused, stage=stage)
    return _allowed(policy, decision, rule)


def _asked(decision: Decision, facts: Facts) -> Asked:
    """Return what a guard is asked about, as the pipeline would have it."""
    kept = [
        (name.encode("latin-1"), b"", value.encode("latin-1"))
        for name, value in facts.headers.items()
    ]
    host = facts.headers.get("host", "").encode("latin-1")
    headers = RequestHeaders([one for one in kept if one[0] != b"host"], {}, host)
    asked = Asked(decision.method, decision.path, headers, facts.client, facts.now)
    asked.principal, asked.role = decision.principal, decision.role
    return asked


def _allowed(policy: Policy, decision: Decision, rule: Rule) -> Decision:
    """Add what happens to a request that is allowed."""
    role, principal = decision.role, decision.principal
    takes = takes_for(
        rule.limits,
        role=role,
        subject=principal.subject if principal else "",
        client="",
    )
    taken = {take.id for take in takes}
    return dataclasses.replace(
        decision,
        takes=tuple(takes),
        unlimited=tuple(limit for limit in rule.limits if limit.id not in taken),
        encrypted=(
            *_places(rule.protect_request),
            *_parameters("query", rule.protect_query),
            *_parameters("form", rule.protect_form),
        ),
        shown=tuple(
            (place, field, policy.view(role, field))
            for place, field in _places(rule.protect_response)
        ),
    )


def _parameters(
    where: str, parameters: Parameters | None
) -> tuple[tuple[str, str], ...]:
    places = parameters.places if parameters else ()
    return tuple((f"{name} of the {where}", field) for name, field in places)


def _places(selection: Selection | None) -> tuple[tuple[str, str], ...]:
    return selection.places if selection else ()


def without_token(policy: Policy, now: float) -> Identify:
    """Identify who sends no token."""
    return lambda: Authenticator(policy.issuers).authenticate(None, now)


def with_token(policy: Policy, token: str, now: float) -> Identify:
    """Identify by a token, which is verified as the proxy would."""
    value = b"Bearer " + token.encode("utf-8", "replace")
    return lambda: Authenticator(policy.issuers).authenticate(value, now)


def with_claims(issuer: Issuer, claims: Mapping[str, Any], now: float) -> Identify:
    """Identify by a token with these claims, made as if the issuer had signed it.

    What the issuer's keys would sign is not to be had here, so a key of ours stands in
    for them; everything else about the token is checked as the proxy does.

    Args:
        issuer: that the token is of.
        claims: beside, or instead of, the usual ``iss``, ``aud``, ``sub``, ``iat``
            and ``exp``.
        now: epoch seconds.
    """
    usual = {"iss": issuer.issuer, "aud": issuer.audience[0], "sub": "somebody"}
    lifetime = min(3600.0, issuer.max_lifetime or 3600.0)
    payload = {**usual, "iat": now, "exp": now + lifetime, **claims}
    # Not ``jwt.encode``, which makes no token that is wrong on purpose.
    body = json.dumps(payload).encode()
    token = jwt.PyJWS().encode(body, _STAND_IN, algorithm="HS256")
    key = VerificationKey(kid=None, key=_STAND_IN)
    known = dataclasses.replace(issuer, algorithms=("HS256",), keys=(key,), remote=None)
    value = b"Bearer " + token.encode()
    return lambda: Authenticator({known.id: known}).authenticate(value, now)


def with_roles(*roles: str) -> Identify:
    """Identify somebody whose token was verified and has these roles."""
    principal = Principal(
        subject="somebody",
        roles=roles,
        issuer="",
        expires_at=math.inf,
        claims={"sub": "somebody"},
    )
    return lambda: principal


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A rule whose path matches too, and why it does not decide."""

    rule: Rule
    why: str


def rivals(policy: Policy, decision: Decision) -> tuple[Rival, ...]:
    """Return the other rules that know the path, the more specific first."""
    found = []
    for rule in policy.rules:
        if rule is decision.rule:
            continue
        knows = _knows(rule, decision.method, decision.path)
        if knows is not None:
            found.append(Rival(rule=rule, why=_why(rule, decision.rule, has=knows)))
    return tuple(sorted(found, key=lambda rival: _generality(rival.rule.pattern)))


def _knows(rule: Rule, method: str, path: str) -> bool | None:
    """Say whether a rule, were it alone, has this method; None when not even the path.

    Ambiguities of the path are the winner's business.
    """
    alone = Router([dataclasses.replace(rule, tolerate=_EVERY_AMBIGUITY)])
    try:
        alone.match(method, path)
    except Refused as refused:
        return False if refused.reason is Reason.METHOD_NOT_ALLOWED else None
    return True


def _why(rule: Rule, winner: Rule | None, *, has: bool) -> str:
    if not has:
        return f"it is for {methods_text(rule.methods)}"
    if winner is None:
        return "it would match, but does not tolerate such a path"
    return difference(winner.pattern, rule.pattern)


def difference(winner: Pattern, loser: Pattern) -> str:
    """Say what makes the one of two patterns more specific."""
    for mine, theirs in zip(_written(winner), _written(loser), strict=False):
        if _kind(mine) < _kind(theirs):
            return (
                f"less specific: {theirs} where {winner.text} has {mine or 'the end'}"
            )
    return "less specific: * where the other names the method"


def _written(pattern: Pattern) -> Iterator[str]:
    return iter(pattern.text[1:].split("/"))


def _kind(segment: str) -> int:
    """Return 0 for a literal, 1 for ``{name}``, 2 for ``{name...}``."""
    if not segment.startswith("{"):
        return 0
    return 2 if segment.endswith("...}") else 1


def _generality(pattern: Pattern) -> tuple[int, ...]:
    return tuple(_kind(segment) for segment in _written(pattern))
