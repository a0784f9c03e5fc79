"""Every reason for which a request is refused: one table, read by everybody.

The row decides the response status, the ``type`` and ``title`` of the problem
document, the metric label and the documentation, so that "why was I refused?" has
one answer everywhere. A test walks the table and fails if a row is not documented
in ``policies/README.md`` or never raised.

What must not live here: wording that depends on the request. A reason says which
rule of ours was applied; ``Refused.detail`` may say more.
"""

import enum


class Party(enum.Enum):
    """Whose doing a refusal is."""

    CLIENT = "client"
    BACKEND = "backend"
    STORE = "store"
    ISSUER = "issuer"
    PROXY = "proxy"


class Reason(enum.Enum):
    """Why a request was refused.

    Attributes:
        slug: the stable, kebab-case name that logs, metrics and clients see.
        status: the HTTP status of the response.
        party: whose doing it is.
        title: one public sentence, the same for every occurrence.
    """

    # The message itself (RFC 9112), before any rule was looked for.
    MALFORMED = (
        "malformed-request",
        400,
        Party.CLIENT,
        "The request is not well-formed HTTP/1.1, or can be read in two ways.",
    )
    PATH_AMBIGUOUS = (
        "path-ambiguous",
        400,
        Party.CLIENT,
        "The path can be read in two ways.",
    )
    URI_TOO_LONG = (
        "uri-too-long",
        414,
        Party.CLIENT,
        "The request target is longer than this proxy reads.",
    )
    HEADERS_TOO_LARGE = (
        "headers-too-large",
        431,
        Party.CLIENT,
        "The header section has more lines or bytes than this proxy reads.",
    )
    REQUEST_TIMEOUT = (
        "request-timeout",
        408,
        Party.CLIENT,
        "The request did not arrive in time.",
    )
    EXPECTATION_UNKNOWN = (
        "expectation-unknown",
        417,
        Party.CLIENT,
        "The only expectation this proxy knows is 100-continue.",
    )

    # Routing.
    NO_RULE = ("no-rule", 404, Party.CLIENT, "No rule of the policy matches.")
    METHOD_NOT_ALLOWED = (
        "method-not-allowed",
        405,
        Party.CLIENT,
        "The policy knows this path, but not with this method.",
    )

    # Authentication (RFC 6750) and authorisation.
    TOKEN_MISSING = (
        "token-missing",
        401,
        Party.CLIENT,
        "This rule needs a bearer token.",
    )
    TOKEN_MALFORMED = (
        "token-malformed",
        401,
        Party.CLIENT,
        "The bearer token is not a signed JSON Web Token.",
    )
    ALGORITHM_NOT_ALLOWED = (
        "algorithm-not-allowed",
        401,
        Party.CLIENT,
        "The issuer of this token does not sign with this algorithm.",
    )
    ISSUER_NOT_TRUSTED = (
        "issuer-not-trusted",
        401,
        Party.CLIENT,
        "The policy does not trust the issuer of this token.",
    )
    KEY_UNKNOWN = (
        "key-unknown",
        401,
        Party.CLIENT,
        "The token names a key that its issuer does not have.",
    )
    SIGNATURE_INVALID = (
        "signature-invalid",
        401,
        Party.CLIENT,
        "The signature of the token does not verify.",
    )
    CLAIM_INVALID = (
        "claim-invalid",
        401,
        Party.CLIENT,
        "A claim that this issuer's tokens must carry is missing or malformed.",
    )
    AUDIENCE_MISMATCH = (
        "audience-mismatch",
        401,
        Party.CLIENT,
        "The token was issued for somebody else.",
    )
    TOKEN_EXPIRED = ("token-expired", 401, Party.CLIENT, "The token has expired.")
    TOKEN_NOT_YET_VALID = (
        "token-not-yet-valid",
        401,
        Party.CLIENT,
        "The token is not valid yet.",
    )
    TOKEN_REVOKED = (
        "token-revoked",
        401,
        Party.CLIENT,
        "The token was revoked before it expired.",
    )
    ISSUER_UNAVAILABLE = (
        "issuer-unavailable",
        503,
        Party.ISSUER,
        "What only the issuer of this token can tell cannot be asked at the moment.",
    )
    LOGIN_TOO_WEAK = (
        "login-too-weak",
        401,
        Party.CLIENT,
        "This rule needs another way of logging in, or a later log-in.",
    )
    ROLE_NOT_ALLOWED = (
        "role-not-allowed",
        403,
        Party.CLIENT,
        "The role of this token may not do this.",
    )
    ADDRESS_NOT_ALLOWED = (
        "address-not-allowed",
        403,
        Party.CLIENT,
        "Requests from this address may not do this.",
    )
    SCOPE_MISSING = (
        "scope-missing",
        403,
        Party.CLIENT,
        "The token lacks a scope that this needs.",
    )
    NOT_OWNER = ("not-owner", 403, Party.CLIENT, "This belongs to somebody else.")
    CONDITION_NOT_MET = (
        "condition-not-met",
        403,
        Party.CLIENT,
        "A condition of the rule does not hold.",
    )
    CONDITION_FAILED = (
        "condition-failed",
        403,
        Party.CLIENT,
        "A condition of the rule cannot be decided for this request.",
    )

    ORIGIN_NOT_ALLOWED = (
        "origin-not-allowed",
        403,
        Party.CLIENT,
        "Pages of this origin may not read answers of this rule.",
    )

    # Limits.
    RATE_LIMITED = (
        "rate-limited",
        429,
        Party.CLIENT,
        "A rate limit of the policy is used up.",
    )
    LOGINS_DELAYED = (
        "logins-delayed",
        429,
        Party.CLIENT,
        "Too many log-ins have failed; the next one has to wait.",
    )
    LIMITS_UNAVAILABLE = (
        "limits-unavailable",
        503,
        Party.STORE,
        "A rate limit cannot be counted now, and the policy refuses without it.",
    )

    # Protected bodies.
    BODY_TOO_LARGE = (
        "body-too-large",
        413,
        Party.CLIENT,
        "The body is larger than this rule accepts.",
    )
    MEDIA_TYPE_NOT_ALLOWED = (
        "media-type-not-allowed",
        415,
        Party.CLIENT,
        "This rule protects fields and accepts unencoded JSON bodies only.",
    )
    BODY_NOT_JSON = (
        "body-not-json",
        400,
        Party.CLIENT,
        "The body is not JSON that can be read in one way only.",
    )
    PARAMETER_AMBIGUOUS = (
        "parameter-ambiguous",
        400,
        Party.CLIENT,
        "A protected parameter of the query or form can be read in two ways.",
    )
    FILTER_NOT_ALLOWED = (
        "filter-not-allowed",
        403,
        Party.CLIENT,
        "This role may not look up by a field that it does not see.",
    )
    CIPHERTEXT_IN_REQUEST = (
        "ciphertext-in-request",
        422,
        Party.CLIENT,
        "A protected field already holds ciphertext.",
    )
    MASK_IN_REQUEST = (
        "mask-in-request",
        422,
        Party.CLIENT,
        "A protected field holds a masked value, which would overwrite the real one.",
    )
    FIELD_UNENCRYPTABLE = (
        "field-unencryptable",
        422,
        Party.CLIENT,
        "A protected field holds a value that its mode cannot encrypt.",
    )
    FIELD_UNDECRYPTABLE = (
        "field-undecryptable",
        502,
        Party.BACKEND,
        "A protected field of the backend's answer does not decrypt.",
    )
    RESPONSE_UNREADABLE = (
        "response-unreadable",
        502,
        Party.BACKEND,
        "The backend's answer to a protected rule cannot be read.",
    )

    # The backend.
    UPSTREAM_REFUSED = (
        "upstream-refused",
        502,
        Party.BACKEND,
        "The backend does not accept connections.",
    )
    UPSTREAM_UNTRUSTED = (
        "upstream-untrusted",
        502,
        Party.BACKEND,
        "The backend did not prove over TLS who it is.",
    )
    UPSTREAM_RESET = (
        "upstream-reset",
        502,
        Party.BACKEND,
        "The backend closed the connection before it answered.",
    )
    UPSTREAM_PROTOCOL = (
        "upstream-protocol",
        502,
        Party.BACKEND,
        "The backend's answer is not well-formed HTTP/1.1.",
    )
    UPSTREAM_TIMEOUT = (
        "upstream-timeout",
        504,
        Party.BACKEND,
        "The backend did not answer in time.",
    )
    UPSTREAM_BUSY = (
        "upstream-busy",
        503,
        Party.BACKEND,
        "The backend has as many requests as it is allowed to have.",
    )

    # Ourselves.
    KEYS_UNAVAILABLE = (
        "keys-unavailable",
        503,
        Party.STORE,
        "The keys that would encrypt this request are not to be had.",
    )
    AUDIT_UNAVAILABLE = (
        "audit-unavailable",
        503,
        Party.STORE,
        "What has to be written down of this request cannot be written.",
    )
    INTERNAL = ("internal-error", 500, Party.PROXY, "The proxy failed. It is logged.")

    def __init__(self, slug: str, status: int, party: Party, title: str) -> None:
        self.slug = slug
        self.status = status
        self.party = party
        self.title = title
