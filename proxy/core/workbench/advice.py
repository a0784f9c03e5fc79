"""What to do about a refusal, in a sentence or two, with the words of the policy."""

from proxy.core.errors import Refused
from proxy.core.policy import Policy
from proxy.core.reasons import Party, Reason
from proxy.core.workbench.decision import Decision
from proxy.core.workbench.wording import joined, methods_text

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
    Reason.LOGIN_TOO_WEAK: (
        "Log in again, as the challenge in WWW-Authenticate asks for. Required is that "
        "{login}."
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
    Reason.RATE_LIMITED: (
        "Wait as long as Retry-After says. `lumina-proxy limits` shows what is left; "
        "the rule's limits say how much there is."
    ),
    Reason.LOGINS_DELAYED: (
        "Wait as long as Retry-After says, then log in with the right password. "
        "`lumina-proxy limits show` shows an account, `reset` gives it back."
    ),
    Reason.BODY_TOO_LARGE: (
        "Send less at once, or raise the rule's max_body. What is protected has to be "
        "held whole, and is at most 1 MiB."
    ),
    Reason.MEDIA_TYPE_NOT_ALLOWED: (
        "Send application/json, not compressed; or a form where the rule protects one."
    ),
    Reason.BODY_NOT_JSON: "Send JSON in UTF-8 without duplicate names.",
    Reason.PARAMETER_AMBIGUOUS: "Send each protected parameter once, by its name.",
    Reason.FILTER_NOT_ALLOWED: (
        "Let a role look up by this field that sees it plainly, or change the views."
    ),
    Reason.CIPHERTEXT_IN_REQUEST: (
        "Send the value itself. A client that got ciphertext read it past the proxy."
    ),
    Reason.MASK_IN_REQUEST: (
        "Leave out what is masked, or let somebody write it whose role sees it plainly."
    ),
    Reason.FIELD_UNENCRYPTABLE: (
        "Send a value that fits the field's mode, or give the field another mode."
    ),
    Reason.FIELD_UNDECRYPTABLE: (
        "Look for the key that wrote the value in ENCRYPTION_KEY, and for a deployment "
        "that was renamed."
    ),
    Reason.RESPONSE_UNREADABLE: (
        "Let the backend answer with JSON of at most 1 MiB, not compressed."
    ),
    Reason.UPSTREAM_REFUSED: "Look whether the backend runs, and at its address.",
    Reason.UPSTREAM_RESET: "Look into the backend's own log at this time.",
    Reason.UPSTREAM_PROTOCOL: "Look into the backend's own log at this time.",
    Reason.UPSTREAM_TIMEOUT: (
        "Look why the backend is slow; timeouts of the backend say how long it has."
    ),
    Reason.UPSTREAM_BUSY: "Give the backend more servers, or clients lower limits.",
    Reason.INTERNAL: (
        "Look for the request id in the proxy's log, and report what is beside it."
    ),
}
"""How to get on after a refusal. What stands in braces is filled in from the policy."""

_BY_PARTY = {
    Party.CLIENT: "Change the request: {title}",
    Party.BACKEND: "Look into the backend's own log at this time.",
    Party.STORE: "Look whether the store of limits answers.",
    Party.ISSUER: "Look whether the issuer of the token answers.",
    Party.PROXY: "Look into the proxy's log at this time.",
}
"""Where nothing more is known than whose doing it is."""


def advice(policy: Policy, decision: Decision) -> str:
    """Return what to do about a refusal; "" for a request that is allowed."""
    if decision.refused is None:
        return ""
    allowed = dict(decision.refused.headers).get("Allow", "").split(", ")
    roles = decision.rule.allow if decision.rule and decision.rule.allow else ()
    reason = decision.refused.reason
    return _ADVICE.get(reason, _BY_PARTY[reason.party]).format(
        title=reason.title,
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
    step_up = guard.step_up if guard else None
    return {
        "scopes": joined(guard.scopes) if guard else "",
        "login": joined(step_up.parts()) if step_up else "",
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
