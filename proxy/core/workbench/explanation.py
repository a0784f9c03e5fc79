"""A decision in sentences: stage by stage, and what to do about a refusal.

Read by people who did not write the policy, so it names what they can look up in it.
"""

import dataclasses
import enum
from collections.abc import Callable, Iterator, Mapping

from proxy.core.errors import Refused
from proxy.core.policy import Policy, View
from proxy.core.reasons import Reason
from proxy.core.workbench.decision import Decision, Stage
from proxy.core.workbench.wording import (
    allow_text,
    joined,
    match_text,
    methods_text,
    quota_text,
    rate_text,
    store_text,
)


class Verdict(enum.Enum):
    """What a stage says to a request."""

    OK = "ok"
    REFUSED = "refused"
    NOT_REACHED = "not reached"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One stage of a decision.

    Attributes:
        stage: which.
        verdict: what it says.
        details: why, a line each; empty when it was not reached.
    """

    stage: Stage
    verdict: Verdict
    details: tuple[str, ...]


def steps(decision: Decision) -> tuple[Step, ...]:
    """Return every stage with its verdict, in the order of the data path."""
    taken = []
    verdict = Verdict.OK
    for stage in Stage:
        if stage is Stage.ADDRESS and not _asks_address(decision):
            continue
        if verdict is not Verdict.OK:
            verdict = Verdict.NOT_REACHED
        elif stage is decision.stage:
            verdict = Verdict.REFUSED
        details = () if verdict is Verdict.NOT_REACHED else _details(decision, stage)
        taken.append(Step(stage=stage, verdict=verdict, details=tuple(details)))
    return tuple(taken)


def _asks_address(decision: Decision) -> bool:
    guard = decision.rule.guard if decision.rule else None
    return guard is not None and guard.addresses is not None


_HOW = {View.PLAIN: "decrypted", View.MASK: "masked", View.DROP: "left out"}
"""What is done to a value for a view, where its name does not say it."""


def _details(decision: Decision, stage: Stage) -> Iterator[str]:
    if stage is decision.stage and decision.refused:
        yield decision.refused.reason.title
        if decision.refused.detail:
            yield decision.refused.detail
    yield from _DETAILS[stage](decision)


def _matching(decision: Decision) -> Iterator[str]:
    if decision.rule:
        yield f"{decision.rule.id}: {match_text(decision.rule)}"
    for name, value in decision.params.items():
        yield f"{name} = {value}"


def _address(decision: Decision) -> Iterator[str]:
    guard = decision.rule.guard if decision.rule else None
    if guard and guard.addresses:
        if guard.addresses.allow:
            yield f"allowed: {joined(map(str, guard.addresses.allow.networks))}"
        if guard.addresses.deny:
            yield f"denied: {joined(map(str, guard.addresses.deny.networks))}"
        if decision.granted:
            yield "taken for granted: an address that may"


def _guard(decision: Decision) -> Iterator[str]:
    """Say what the rule asks beside a role."""
    guard = decision.rule.guard if decision.rule else None
    if guard is None:
        return
    asked = []
    if guard.scopes:
        asked.append(f"the token has the scopes {joined(guard.scopes)}")
    if guard.owner:
        asked.append(f"{guard.owner} of the path is the token's sub")
    if guard.condition:
        asked.append(" ".join(guard.condition.text.split()))
    for one in asked:
        yield f"taken for granted: {one}" if decision.granted else f"asks: {one}"


def _authentication(decision: Decision) -> Iterator[str]:
    principal = decision.principal
    if decision.rule and decision.rule.allow is None:
        yield "no token is asked for"
    elif principal and not principal.issuer:
        yield f"taken for granted: a token with the role {joined(principal.roles)}"
    elif principal:
        yield f"the subject {principal.subject!r}, by the issuer {principal.issuer}"
        yield f"with the roles {joined(principal.roles)}"


def _authorisation(decision: Decision) -> Iterator[str]:
    principal = decision.principal
    if decision.rule and decision.rule.allow is None:
        yield "anyone may"
    elif decision.rule and decision.refused and principal and not decision.role:
        roles = joined(principal.roles)
        yield f"The rule allows {allow_text(decision.rule)}; the token has {roles}."
    elif decision.rule:
        yield f"acts as {decision.role}; the rule allows {allow_text(decision.rule)}"
    if not (decision.refused and decision.reason is Reason.ROLE_NOT_ALLOWED):
        yield from _guard(decision)


def _limits(decision: Decision) -> Iterator[str]:
    for take in decision.takes:
        quota = take.quota
        unusual = store_text(quota.on_failure, leased=quota.leased)
        yield f"{take.id}: {quota_text(take.limit)}, per {quota.per.value}{unusual}"
    for limit in decision.unlimited:
        yield f"{limit.id}: {rate_text(None)}"
    if not decision.takes and not decision.unlimited:
        yield "none"


def _encryption(decision: Decision) -> Iterator[str]:
    for place, field in decision.encrypted:
        yield f"{place} is encrypted as {field}"
    if not decision.encrypted:
        yield "nothing: the body passes as it is"


def _decryption(decision: Decision) -> Iterator[str]:
    for place, field, view in decision.shown:
        yield f"{place} is {field}, {_HOW.get(view, f'shown as {view.value}')}"
    if not decision.shown:
        yield "nothing: the answer passes as it is"


_DETAILS: Mapping[Stage, Callable[[Decision], Iterator[str]]] = {
    Stage.MATCH: _matching,
    Stage.ADDRESS: _address,
    Stage.AUTHENTICATE: _authentication,
    Stage.AUTHORISE: _authorisation,
    Stage.LIMITS: _limits,
    Stage.ENCRYPT: _encryption,
    Stage.DECRYPT: _decryption,
}
"""What there is to say of each stage."""


_ADVICE = {
    Reason.MALFORMED: "Give a path that begins with '/' and has no fragment.",
    Reason.PATH_AMBIGUOUS: (
        "Write the path in its one form. If the service needs this one, and reads it "
        "as the proxy does, let the rule tolerate it."
    ),
    Reason.NO_RULE: "{near}If this should be served, write a rule for it.",
    Reason.METHOD_NOT_ALLOWED: (
        "Use {methods}, or add {method} to the match of a rule for this path."
    ),
    Reason.TOKEN_MISSING: (
        "Send Authorization: Bearer TOKEN, with a token of {issuers} that has the role "
        "{roles}."
    ),
    Reason.TOKEN_MALFORMED: (
        "Send the token as the issuer gave it: three parts with dots between them, "
        "nothing cut off, nothing added."
    ),
    Reason.ALGORITHM_NOT_ALLOWED: (
        "Let the issuer sign with an algorithm that the policy pins for it."
    ),
    Reason.ISSUER_NOT_TRUSTED: (
        "Get a token of {issuers}, or add the issuer of this one to the policy."
    ),
    Reason.KEY_UNKNOWN: (
        "If the issuer has a new key, add it to keys of the issuer with its kid."
    ),
    Reason.SIGNATURE_INVALID: (
        "Compare the key of the policy with the issuer's: tokens of another "
        "environment fail like this, and so does a secret replaced on one side only."
    ),
    Reason.CLAIM_INVALID: (
        "Let the issuer write iss, aud, exp and sub into its tokens, and the role "
        "where the policy looks for it."
    ),
    Reason.AUDIENCE_MISMATCH: (
        "Ask the issuer for a token whose aud is the audience in the policy."
    ),
    Reason.TOKEN_EXPIRED: "Get a new token.",
    Reason.TOKEN_NOT_YET_VALID: (
        "Compare the clocks of the issuer and the proxy; leeway forgives some seconds."
    ),
    Reason.TOKEN_REVOKED: (
        "Get a new token. An operator revoked this one; lumina-proxy token list says "
        "why, and lumina-proxy token restore takes it back."
    ),
    Reason.ISSUER_UNAVAILABLE: (
        "Try again, with a running proxy: it asks the issuer for what explain cannot. "
        "If that says the same, look at its log and at lumina_jwks_age_seconds."
    ),
    Reason.ROLE_NOT_ALLOWED: (
        "Use a token with the role {roles}, or add a role to the rule's allow."
    ),
    Reason.ADDRESS_NOT_ALLOWED: (
        "Ask from another network, or change the rule's addresses. Behind another "
        "proxy, name its network in TRUSTED_PROXIES, or every client has its address."
    ),
    Reason.SCOPE_MISSING: "Ask the issuer for a token with the scopes {scopes}.",
    Reason.NOT_OWNER: (
        "Ask for what belongs to the token's sub; compare {owner} of the path with it."
    ),
    Reason.CONDITION_NOT_MET: "Compare the request with the rule's when: {when}",
    Reason.CONDITION_FAILED: (
        "The rule's when asks for what is not there, or is of another type; guard it "
        "with has(): {when}"
    ),
}
"""How to get on after a refusal of the stages from match to authorise. What stands in
braces is filled in from the policy."""


def advice(policy: Policy, decision: Decision) -> str:
    """Return what to do about a refusal; "" for a request that is allowed."""
    if decision.refused is None:
        return ""
    allowed = dict(decision.refused.headers).get("Allow", "").split(", ")
    roles = decision.rule.allow if decision.rule and decision.rule.allow else ()
    return _ADVICE[decision.refused.reason].format(
        method=decision.method,
        methods=joined(methods_text(allowed).split(","), "or"),
        issuers=joined(sorted(policy.issuers), "or"),
        roles=joined(sorted(roles), "or"),
        near=_near(policy, decision),
        **_asked(decision),
    )


def _asked(decision: Decision) -> dict[str, str]:
    """Return what a rule asks beside a role, in the words of advice."""
    guard = decision.rule.guard if decision.rule else None
    condition = guard.condition if guard else None
    return {
        "scopes": joined(guard.scopes) if guard else "",
        "owner": str(guard.owner) if guard else "",
        "when": " ".join(condition.text.split()) if condition else "",
    }


def _near(policy: Policy, decision: Decision) -> str:
    """Return what answers instead, or nearly would have; "" for nothing."""
    path = decision.path
    if policy.is_health(decision.method, path):
        return "The proxy answers here itself, that it serves. "
    other = path[:-1] if path.endswith("/") else f"{path}/"
    try:
        rule = policy.router.match(decision.method, other).rule
    except Refused:
        return ""
    return f"A slash at the end counts: {other} would be matched by {rule.id}. "
