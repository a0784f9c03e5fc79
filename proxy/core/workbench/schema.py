"""JSON Schema (2020-12) of a policy and of its test cases, for editors.

What a key is called, what it says and whether it must be there is the parser's own
table (``policy_keys``), and so are words and patterns. What is here is the shape of
each value; a key without one cannot be written down, for the schema is not built.

It refuses less than the parser does: what takes more than one place to see, such as a
role that does not exist, only ``check`` finds. It never refuses what the parser reads.
YAML has types and the parser has none, so a value may be typed as an editor reads it.
"""

import re

from proxy.core.authn import FAMILIES
from proxy.core.backends import Balance, Verify
from proxy.core.conditions import MAX_LENGTH
from proxy.core.paths import INTOLERABLE, Ambiguity
from proxy.core.policy import ANYONE, OnStoreFailure, Per, Precision, View
from proxy.core.policy_backends import (
    FILE,
    HOST,
    NO_EJECTION,
    RETRIES,
    SERVER,
)
from proxy.core.policy_fields import (
    KEY_ID,
    MODES,
    NO_STEPS,
    ON_ERROR,
    OVERHEADS,
    READABLE,
    SHAPES,
    STEPS,
    YES_OR_NO,
)
from proxy.core.policy_guards import MODES as POLICY_MODES
from proxy.core.policy_guards import SCOPE
from proxy.core.policy_issuers import CLAIM_PATH
from proxy.core.policy_keys import (
    ADDRESSES,
    BACKEND,
    BACKEND_TLS,
    BREAKER,
    CASE,
    CASES,
    COOKIES,
    CORS,
    DOCUMENT,
    EJECT,
    EXPECT,
    FIELD,
    HEALTH,
    ISSUER,
    KEY,
    LIMIT,
    PROTECT,
    RESPONSES,
    RULE,
    RULE_TIMEOUTS,
    TIMEOUTS,
)
from proxy.core.policy_responses import NOTHING, ORIGIN, SOURCE, TOKEN
from proxy.core.policy_roles import DEFAULT, ROLE
from proxy.core.policy_rules import COUNTER, METHODS, RULE_ID
from proxy.core.policy_sections import GLOB, PERIODS, UNLIMITED
from proxy.core.policy_values import DURATION, NAME, SIZE
from proxy.core.reasons import Reason
from proxy.core.responses import SameSite
from proxy.core.workbench.shapes import (
    VARIABLE,
    WORD,
    Schema,
    listing,
    mapping,
    one_or_many,
    table,
    unique,
    value,
    word,
    words,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_LITERAL = r"(?!\*{1,2}(?:/|$))[^/{}?#\s]+"
_PARAMETER = r"\{[A-Za-z_][A-Za-z0-9_]*\}"
_REST = r"\{[A-Za-z_][A-Za-z0-9_]*\.\.\.\}"
_SEGMENT = f"(?:{_LITERAL}|{_PARAMETER})"
_PATH = f"/(?:{_SEGMENT}(?:/{_SEGMENT})*(?:/(?:{_REST})?)?|{_REST})?"


_NAME = word(NAME)
_POSITIVE: Schema = {
    "anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "string", "pattern": "^[1-9][0-9]{0,14}$"},
        VARIABLE,
    ]
}
_DURATION = value(DURATION, "250ms", "2s", "1m", "1h")
_RATE = value(
    re.compile(
        f"{UNLIMITED}|[0-9]{{1,15}} ?/ ?(?:{'|'.join(PERIODS)}|{DURATION.pattern})"
    ),
    *("5/minute", "100/hour", "10/30s", UNLIMITED),
)
_SIZE: Schema = {
    "anyOf": [{"type": "integer", "minimum": 0}, *value(SIZE)["anyOf"]],
    "examples": ["64KiB", "10MB", "1GiB"],
}
_ROLE: Schema = {**word(ROLE), "not": {"enum": [ANYONE, DEFAULT]}}
_VERSION: Schema = {"enum": [1, "1"]}
_ADDRESSES = {**unique(WORD), "examples": [["10.0.0.0/8", "2001:db8::/32"]]}


def _heir() -> Schema:
    """A role that may whatever others may."""
    role = {**table(word(ROLE), unique(_ROLE)), "maxProperties": 1}
    return {**role, "examples": [{"teacher": ["student"]}]}


def _backend() -> Schema:
    file = value(FILE, "/etc/lumina/ca.pem")
    eject = {"after": _POSITIVE, "for": _DURATION, "at_most": _POSITIVE}
    return mapping(
        BACKEND,
        {
            "servers": unique(value(SERVER, "http://127.0.0.1:9000")),
            "balance": words([one.value for one in Balance]),
            "timeouts": mapping(TIMEOUTS, dict.fromkeys(TIMEOUTS, _DURATION)),
            "health": mapping(
                HEALTH,
                {
                    "path": value(re.compile(r"/[!-\"$-~]*"), "/health"),
                    "every": _DURATION,
                    "timeout": _DURATION,
                    "host": value(HOST, "lms.example"),
                    "down_after": _POSITIVE,
                    "up_after": _POSITIVE,
                },
            ),
            "eject": {"anyOf": [{"const": NO_EJECTION}, mapping(EJECT, eject)]},
            "breaker": mapping(BREAKER, dict.fromkeys(BREAKER, _POSITIVE)),
            "retry": words(RETRIES),
            "tls": mapping(
                BACKEND_TLS,
                {
                    "ca": file,
                    "certificate": file,
                    "key": file,
                    "server_name": value(HOST, "lms.example"),
                    "verify": words([one.value for one in Verify]),
                },
            ),
        },
    )


def _responses() -> Schema:
    def or_nothing(shape: Schema) -> Schema:
        return {"anyOf": [{"const": NOTHING}, shape]}

    yes_or_no: Schema = {"enum": [True, False, *YES_OR_NO]}
    fields = table(word(TOKEN), WORD)
    tokens = or_nothing(unique(word(TOKEN)))
    source = value(re.compile(f"'(?:self|none)'|{SOURCE.pattern}"), "self")
    cookies = {
        "secure": yes_or_no,
        "http_only": yes_or_no,
        "same_site": words([one.value for one in SameSite]),
        "readable": unique(word(TOKEN)),
    }
    cors = {
        "origins": unique(value(ORIGIN, "https://app.example")),
        "headers": tokens,
        "expose": tokens,
        "credentials": yes_or_no,
        "max_age": _DURATION,
    }
    return mapping(
        RESPONSES,
        {
            "set": fields,
            "default": fields,
            "remove": {**tokens, "examples": [["Server", "X-Powered-By"]]},
            "frame_ancestors": or_nothing(unique(source)),
            "cookies": or_nothing(mapping(COOKIES, cookies)),
            "cors": or_nothing(mapping(CORS, cors)),
        },
    )


def _issuer() -> Schema:
    families = [{"items": words(sorted(family))} for family in FAMILIES.values()]
    every = sorted(one for family in FAMILIES.values() for one in family)
    key = mapping(KEY, {"kid": WORD, "secret": WORD, "public_key": WORD})
    schema = mapping(
        ISSUER,
        {
            "issuer": WORD,
            "audience": one_or_many(WORD),
            "algorithms": {**unique(words(every)), "anyOf": families},
            "secret": WORD,
            "public_key": WORD,
            "keys": listing({**key, "oneOf": _exactly_one("secret", "public_key")}),
            "roles": value(CLAIM_PATH, "$.role", "$.realm_access.roles"),
            "leeway": _DURATION,
        },
    )
    return {**schema, "oneOf": _exactly_one("secret", "public_key", "keys")}


def _exactly_one(*names: str) -> list[Schema]:
    return [{"required": [name]} for name in names]


def _limit() -> Schema:
    role = {**word(ROLE), "not": {"const": ANYONE}}
    return mapping(
        LIMIT,
        {
            "rate": {"anyOf": [_RATE, table(role, _RATE)]},
            "per": words([per.value for per in Per]),
            "burst": _POSITIVE,
            "on_store_failure": words([way.value for way in OnStoreFailure]),
            "precision": words([one.value for one in Precision]),
        },
    )


def _rule() -> Schema:
    path, name = {"pattern": r"^\$"}, {"minLength": 1}
    kinds = [kind.value for kind in Ambiguity if kind not in INTOLERABLE]
    return mapping(
        RULE,
        {
            "id": word(RULE_ID),
            "match": {"type": "string", "pattern": _match(), "examples": _MATCHES},
            "allow": {"anyOf": [{"const": ANYONE}, unique(_ROLE)]},
            "scopes": unique(word(SCOPE)),
            "owner": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
            "when": {
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_LENGTH,
                "examples": ["claims.sub == path.id || role == 'admin'"],
            },
            "addresses": mapping(ADDRESSES, {"allow": _ADDRESSES, "deny": _ADDRESSES}),
            "mode": words(POLICY_MODES),
            "backend": _NAME,
            "limits": listing({"anyOf": [_NAME, {"$ref": "#/$defs/limit"}]}),
            "protect": mapping(
                PROTECT,
                {
                    "request": table(path, _NAME),
                    "response": table(path, _NAME),
                    "query": table(name, _NAME),
                    "form": table(name, _NAME),
                },
            ),
            "count": word(COUNTER),
            "tolerate": unique(words(kinds)),
            "max_body": _SIZE,
            "timeouts": mapping(RULE_TIMEOUTS, dict.fromkeys(RULE_TIMEOUTS, _DURATION)),
            "responses": {"anyOf": [{"const": NOTHING}, {"$ref": "#/$defs/responses"}]},
        },
    )


def _field() -> Schema:
    return mapping(
        FIELD,
        {
            "mode": words(MODES),
            "overhead": words(OVERHEADS),
            "shape": words(SHAPES),
            "mail_domain": {"type": "string", "examples": ["enc.lms.example"]},
            "normalise": {"anyOf": [{"const": NO_STEPS}, unique(words(STEPS))]},
            "accept_leakage": {"enum": [True, False, *YES_OR_NO]},
            "key": word(KEY_ID),
            "max_length": _POSITIVE,
            "max_bytes": _POSITIVE,
            "min_length": _POSITIVE,
            "reads": unique(words(READABLE)),
            "on_error": words(ON_ERROR),
        },
    )


_MATCHES = ["GET /api/users/{id}", "GET,POST /api/users", "* /files/{path...}"]


def _match() -> str:
    method = "|".join(METHODS)
    return rf"^(?:\*|(?:{method})(?:,(?:{method}))*) {_PATH}$"


def policy_schema() -> Schema:
    """Return the schema of one file of a policy."""
    # An editor takes the word null for nothing at all.
    views = {"enum": [*(view.value for view in View), None]}
    view = table(word(GLOB), views)
    shapes = {
        "version": _VERSION,
        "deployment": WORD,
        "health": {"type": "string", "pattern": r"^(?:none|/.*)$"},
        "mode": words(POLICY_MODES),
        "backends": table(_NAME, {"$ref": "#/$defs/backend"}),
        "issuers": table(_NAME, {"$ref": "#/$defs/issuer"}),
        "roles": unique({"anyOf": [_ROLE, _heir()]}),
        "addresses": table(_NAME, _ADDRESSES),
        "limits": table(_NAME, {"$ref": "#/$defs/limit"}),
        "fields": table(_NAME, _field()),
        "views": table(word(ROLE), view),
        "responses": {"$ref": "#/$defs/responses"},
        "rules": listing({"$ref": "#/$defs/rule"}),
    }
    return {
        "$schema": DIALECT,
        "title": "A policy of lumina-proxy",
        **mapping(DOCUMENT, shapes),
        "$defs": {
            "backend": _backend(),
            "issuer": _issuer(),
            "limit": _limit(),
            "responses": _responses(),
            "rule": _rule(),
        },
    }


def cases_schema() -> Schema:
    """Return the schema of a file of test cases."""
    fields = unique(_NAME, least=0)
    limit = word(re.compile(r"[A-Za-z0-9_.#-]+"))
    expect = mapping(
        EXPECT,
        {
            "outcome": words(["allowed", "refused"]),
            "reason": words([reason.slug for reason in Reason]),
            "rule": word(RULE_ID),
            "role": _ROLE,
            "backend": _NAME,
            "limits": {"anyOf": [unique(limit, least=0), table(limit, _RATE)]},
            "encrypted": fields,
            "plain": fields,
            "masked": fields,
        },
    )
    case = mapping(
        CASE,
        {
            "name": WORD,
            "request": one_or_many(
                value(re.compile(r"[!-`{-~]+ \S+"), "GET /api/users/7")
            ),
            "as": one_or_many(word(ROLE)),
            "claims": {"type": "object", "minProperties": 1},
            "issuer": _NAME,
            "client": WORD,
            "headers": table(word(re.compile(r"[a-z0-9_.-]+")), WORD),
            "time": {**WORD, "examples": ["2026-03-01T08:30:00Z"]},
            "expect": expect,
        },
    )
    case = {**case, "oneOf": _exactly_one("as", "claims")}
    return {
        "$schema": DIALECT,
        "title": "Test cases of a policy of lumina-proxy",
        **mapping(CASES, {"version": _VERSION, "cases": listing(case)}),
    }
