"""Security: who is refused and why, and whether what is protected stays so."""

from grafana.generate.layout import dashboard
from grafana.generate.limits import LIMITS
from grafana.generate.panels import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    bars,
    lines,
    number,
    query,
    steps,
    table,
)

DECISIONS = 'lumina_decisions_total{@, rule=~"$rule"'
REFUSED = f'{DECISIONS}, reason!="served"}}'
ANSWERS = 'lumina_request_duration_seconds_count{@, rule=~"login.*", method="POST"'
IDENTITY = (
    "token-missing|token-malformed|token-expired|token-not-yet-valid|"
    "algorithm-not-allowed|issuer-not-trusted|key-unknown|signature-invalid|"
    "claim-invalid|audience-mismatch|token-revoked|login-too-weak"
)
RIGHTS = (
    "role-not-allowed|address-not-allowed|scope-missing|not-owner|condition-.*|"
    "origin-not-allowed"
)
MESSAGE = (
    "no-rule|method-not-allowed|path-ambiguous|parameter-ambiguous|malformed-request|"
    "uri-too-long|headers-too-large|request-timeout|expectation-unknown"
)
BODY = (
    "body-.*|media-type-not-allowed|ciphertext-in-request|mask-in-request|"
    "filter-not-allowed|field-unencryptable"
)


def _share(reasons: str, legend: str) -> dict[str, object]:
    return query(
        f'sum(rate({DECISIONS}, reason=~"{reasons}"}}[$__rate_interval])) or vector(0)',
        legend,
    )


SUMMARY = [
    number(
        "Refused",
        "Which share of requests is refused, for whatever reason.",
        query(
            f"sum(rate({REFUSED}[$__rate_interval])) / "
            f"sum(rate({DECISIONS}}}[$__rate_interval]))"
        ),
        unit="percentunit",
        limits=steps((None, BLUE), (0.25, ORANGE)),
    ),
    number(
        "Failed log-ins",
        "Log-ins that were answered with a 4xx in this time: wrong passwords, and "
        "those over the limit.",
        query(f'sum(increase({ANSWERS}, status="4xx"}}[$__range])) or vector(0)'),
        unit="short",
        spark=False,
    ),
    number(
        "Over a limit",
        "Requests that were refused in this time because a limit was used up.",
        query(
            f'sum(increase({DECISIONS}, reason="rate-limited"}}[$__range])) '
            "or vector(0)"
        ),
        unit="short",
        spark=False,
    ),
    number(
        "Bad signatures",
        "Tokens in this time that no trusted issuer signed. A few are mistakes; many "
        "are an attack, or a key that was changed in one place only.",
        query(
            f'sum(increase({DECISIONS}, reason=~"signature-invalid|key-unknown|'
            'issuer-not-trusted|algorithm-not-allowed"}[$__range])) or vector(0)'
        ),
        unit="short",
        limits=steps((None, BLUE), (10, ORANGE)),
        spark=False,
    ),
    number(
        "Do not decrypt",
        "Stored values in this time that are tampered with, or under a key that the "
        "proxy does not have.",
        query(
            "sum(increase(lumina_cipher_operations_total"
            '{@, operation="decrypt", outcome=~"unknown-key|bad-tag|wrong-context"}'
            "[$__range])) or vector(0)"
        ),
        unit="short",
        limits=steps((None, BLUE), (1, VERMILLION)),
        spark=False,
    ),
    number(
        "Policy",
        "Whether the last policy that was read came into force at every proxy.",
        query("min(lumina_policy_last_reload_success{@})"),
        unit="none",
        words={"0": ("refused", VERMILLION), "1": ("in force", BLUE)},
        spark=False,
    ),
    number(
        "Rollback",
        "Whether an older policy is pinned at some proxy, so that what is on disk is "
        "not read: lumina-proxy policy release ends it.",
        query("max(lumina_policy_pinned{@})"),
        unit="none",
        words={"0": ("none", BLUE), "1": ("pinned", ORANGE)},
        spark=False,
    ),
]

REFUSALS = [
    lines(
        "Decisions",
        "What becomes of requests. Token: missing or no good. Rights: known, but may "
        "not. Request: matches no rule, or can be read in two ways. Body: too large, "
        "or not what a protected rule accepts.",
        _share("served", "served"),
        _share("rate-limited|logins-delayed", "over a limit"),
        _share(IDENTITY, "token"),
        _share(RIGHTS, "rights"),
        _share(MESSAGE, "request"),
        _share(BODY, "body"),
        unit="reqps",
        stacked=True,
        colors={
            "served": BLUE,
            "over a limit": ORANGE,
            "token": VERMILLION,
            "rights": PURPLE,
            "request": SKY,
            "body": GREY,
        },
    ),
    bars(
        "Refusals by reason",
        "Why requests were refused in this time. policies/README.md explains each.",
        query(
            f"topk(12, sum by (reason) (increase({REFUSED}[$__range])))",
            "{{reason}}",
            instant=True,
        ),
        unit="short",
    ),
    table(
        "Refusals by rule and reason",
        "Where requests were refused in this time, and why. Without a rule: nothing in "
        "the policy matched.",
        query(
            f"topk(50, sum by (rule, role, reason) (increase({REFUSED}[$__range])) > 0)"
        ),
        unit="short",
        columns={
            "rule": "Rule",
            "role": "Role",
            "reason": "Reason",
            "Value": "Requests",
        },
        width=24,
    ),
    table(
        "Would be refused",
        "Requests of this time that were served because their rule, or the whole "
        "policy, is in shadow mode, and would have been refused else.",
        query(
            "topk(50, sum by (rule, role, reason) "
            "(increase(lumina_shadow_refusals_total{@}[$__range])) > 0)"
        ),
        unit="short",
        columns={
            "rule": "Rule",
            "role": "Role",
            "reason": "Reason",
            "Value": "Requests",
        },
        width=24,
    ),
    lines(
        "Tokens that were no good",
        "What was wrong with tokens. Expired ones are everyday; the others are "
        "mistakes or attempts.",
        query(
            f'sum by (reason) (rate({DECISIONS}, reason=~"{IDENTITY}"}}'
            "[$__rate_interval]))",
            "{{reason}}",
        ),
        unit="reqps",
        shade=VERMILLION,
    ),
    lines(
        "Age of issuers' keys",
        "How long ago it was seen that the keys that tokens are verified with are "
        "those that their issuer publishes. A saw is well; who climbs has no answer.",
        query(
            "max by (issuer) (lumina_jwks_age_seconds{@})",
            "{{issuer}}",
        ),
        unit="s",
        shade=BLUE,
        limits=steps((None, BLUE), (3600, ORANGE), (12 * 3600, VERMILLION)),
    ),
    lines(
        "Issuers that do not answer",
        "How often the keys of an issuer were asked for in vain.",
        query(
            "sum by (issuer) (rate(lumina_jwks_fetch_failures_total{@}"
            "[$__rate_interval]))",
            "{{issuer}}",
        ),
        unit="ops",
        shade=VERMILLION,
    ),
    lines(
        "Revocations",
        "Tokens, sessions, subjects or issuers that are revoked, and for how long "
        "nobody has told the proxy of others.",
        query("max(lumina_revocations{@})", "in force"),
        query("max(lumina_revocations_age_seconds{@})", "seconds unheard"),
        unit="short",
        colors={"in force": BLUE, "seconds unheard": VERMILLION},
    ),
    lines(
        "Log-ins",
        "Log-ins that succeeded and that failed. Many failures and few successes: "
        "somebody guesses passwords.",
        query(
            f'sum(rate({ANSWERS}, status="2xx"}}[$__rate_interval])) or vector(0)',
            "succeeded",
        ),
        query(
            f'sum(rate({ANSWERS}, status="4xx"}}[$__rate_interval])) or vector(0)',
            "failed",
        ),
        unit="reqps",
        colors={"succeeded": BLUE, "failed": VERMILLION},
    ),
]

PROTECTION = [
    lines(
        "Values by outcome",
        "What was done with protected values. plaintext: stored before the proxy was "
        "there; masked: decrypted, and not shown to this role.",
        query(
            "sum by (operation, outcome) "
            "(rate(lumina_cipher_operations_total{@}[$__rate_interval]))",
            "{{operation}}, {{outcome}}",
        ),
        unit="ops",
        colors={
            "encrypt, ok": BLUE,
            "decrypt, ok": SKY,
            "decrypt, masked": PURPLE,
            "decrypt, plaintext": ORANGE,
            "decrypt, unknown-key": VERMILLION,
        },
    ),
    lines(
        "Plaintext that is left",
        "Which share of the values that are read was never encrypted. It falls to "
        "nothing as old rows are written anew.",
        query(
            "sum by (field) (rate(lumina_cipher_operations_total"
            '{@, operation="decrypt", outcome="plaintext"}[$__rate_interval])) / '
            "sum by (field) (rate(lumina_cipher_operations_total"
            '{@, operation="decrypt"}[$__rate_interval]))',
            "{{field}}",
        ),
        unit="percentunit",
        shade=ORANGE,
        most=1,
    ),
    table(
        "Values by field",
        "What was done with the values of each protected field in this time.",
        query(
            "sum by (field, operation, outcome) "
            "(increase(lumina_cipher_operations_total{@}[$__range])) > 0"
        ),
        unit="short",
        columns={
            "field": "Field",
            "operation": "Operation",
            "outcome": "Outcome",
            "Value": "Values",
        },
    ),
    table(
        "Keys",
        "The keys of the keystore, whose they are, what they do and how old they are. "
        "Nothing here without a keystore.",
        query("max by (key, tenant, state) (lumina_key_age_seconds{@})"),
        unit="s",
        columns={"key": "Key", "tenant": "Tenant", "state": "State", "Value": "Age"},
    ),
    lines(
        "Keystore",
        "Whether keys are refreshed (1), and whether values may be encrypted: when "
        "nobody answers for the keystore's bound, encryption stops.",
        query("min(lumina_keystore_up{@})", "refreshed"),
        query("min(lumina_key_lease_valid{@})", "may encrypt"),
        unit="none",
        colors={"refreshed": SKY, "may encrypt": BLUE},
        most=1,
    ),
    lines(
        "Certificates",
        "How long the certificates that clients see are still good.",
        query('probe_ssl_earliest_cert_expiry{job="edge"} - time()', "{{instance}}"),
        unit="s",
        limits=steps((None, VERMILLION), (3 * 86400, ORANGE), (14 * 86400, BLUE)),
    ),
]

POLICY = [
    table(
        "Policies in force",
        "Which policy each proxy decides by, by its digest. `lumina-proxy check` "
        "prints the digest of a file.",
        query("lumina_policy_info{@}"),
        unit="none",
        columns={"instance": "Proxy", "digest": "Policy", "Value": "In force"},
    ),
    table(
        "Last read",
        "When each proxy last read its policy, whether it then came into force or not.",
        query(
            "1000 * max by (instance) (lumina_policy_last_reload_timestamp_seconds{@})"
        ),
        unit="dateTimeAsIso",
        columns={"instance": "Proxy", "Value": "Read at"},
        width=6,
    ),
    table(
        "Versions",
        "Which version each proxy runs.",
        query("lumina_build_info{@}"),
        unit="none",
        columns={"instance": "Proxy", "version": "Version", "Value": "Runs"},
        width=6,
    ),
]

AUDIT = [
    lines(
        "Audit log",
        "Security events that were written to the audit log, those that were lost, and "
        "attempts to write that failed. Nothing at all: there is no AUDIT_LOG.",
        query("sum(rate(lumina_audit_lines_total{@}[$__rate_interval]))", "written"),
        query(
            "sum(rate(lumina_audit_events_dropped_total{@}[$__rate_interval]))",
            "lost",
        ),
        query(
            "sum(rate(lumina_audit_write_failures_total{@}[$__rate_interval]))",
            "failed attempts",
        ),
        unit="ops",
        colors={"written": BLUE, "lost": VERMILLION, "failed attempts": ORANGE},
    ),
]

DASHBOARD = dashboard(
    "lumina-security",
    "lumina: Security",
    "Who is refused and why, and whether what is protected stays so.",
    {
        "Now": SUMMARY,
        "Refusals": REFUSALS,
        "Limits": LIMITS,
        "Protected fields and certificates": PROTECTION,
        "Audit": AUDIT,
        "Policy": POLICY,
    },
    rule=True,
)
