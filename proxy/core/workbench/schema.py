"""JSON Schema (2020-12) of a policy and of its test cases, for editors.

What a key is called, what it says and whether it must be there is the parser's own
table (``policy_keys``), and so are words and patterns. What is here is the shape of
each value; a key without one cannot be written down, for the schema is not built.

It refuses less than the parser does: what takes more than one place to see, such as a
role that does not exist, only ``check`` finds. It never refuses what the parser reads.
YAML has types and the parser has none, so a value may be typed as an editor reads it.
"""

import re

from proxy.core.access_line import KEYS
from proxy.core.authn import FAMILIES
from proxy.core.backends import Balance, Verify
from proxy.core.conditions import MAX_LENGTH
from proxy.core.observing import Audit
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
    DOCUMENT,
    EJECT,
    EXPECT,
    FIELD,
    HEALTH,
    ISSUER,
    KEY,
    LIMIT,
    LOG,
    PROTECT,
    RULE,
    RULE_TIMEOUTS,
    TIMEOUTS,
)
from proxy.core.policy_observing import ALL, NONE, PERCENT
from proxy.core.policy_roles import DEFAULT, ROLE
from proxy.core.policy_rules import COUNTER, METHODS, RULE_ID
from proxy.core.policy_sections import GLOB, PERIODS, UNLIMITED
from proxy.core.policy_values import DURATION, NAME, SIZE
from proxy.core.reasons import Reason
from proxy.core.workbench.shapes import (
    VARIABLE,
    WORD,
    Schema,
    list_of,
    object_of,
    one_of,
    one_or_many,
    set_of,
    table_of,
    value_of,
    word_of,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_LITERAL = r"(?!\*{1,2}(?:/|$))[^/{}?#\s]+"
_PARAMETER = r"\{[A-Za-z_][A-Za-z0-9_]*\}"
_REST = r"\{[A-Za-z_][A-Za-z0-9_]*\.\.\.\}"
_SEGMENT = f"(?:{_LITERAL}|{_PARAMETER})"
_PATH = f"/(?:{_SEGMENT}(?:/{_SEGMENT})*(?:/(?:{_REST})?)?|{_REST})?"


_SHARE: Schema = {
    "anyOf": [
        {"enum": [ALL, NONE]},
        {"type": "string", "pattern": f"^(?:{PERCENT.pattern})$"},
        VARIABLE,
    ],
    "examples": ["10%"],
}

_NAME = word_of(NAME)
_POSITIVE: Schema = {
    "anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "string", "pattern": "^[1-9][0-9]{0,14}$"},
        VARIABLE,
    ]
}
_DURATION = value_of(DURATION, "250ms", "2s", "1m", "1h")
_RATE = value_of(
    re.compile(
        f"{UNLIMITED}|[0-9]{{1,15}} ?/ ?(?:{'|'.join(PERIODS)}|{DURATION.pattern})"
    ),
    *("5/minute", "100/hour", "10/30s", UNLIMITED),
)
_SIZE: Schema = {
    "anyOf": [{"type": "integer", "minimum": 0}, *value_of(SIZE)["anyOf"]],
    "examples": ["64KiB", "10MB", "1GiB"],
}
_ROLE: Schema = {**word_of(ROLE), "not": {"enum": [ANYONE, DEFAULT]}}
_VERSION: Schema = {"enum": [1, "1"]}
_ADDRESSES = {**set_of(WORD), "examples": [["10.0.0.0/8", "2001:db8::/32"]]}


def _heir() -> Schema:
    """A role that may whatever others may."""
    role = {**table_of(word_of(ROLE), set_of(_ROLE)), "maxProperties": 1}
    return {**role, "examples": [{"teacher": ["student"]}]}


def _backend() -> Schema:
    file = value_of(FILE, "/etc/lumina/ca.pem")
    eject = {"after": _POSITIVE, "for": _DURATION, "at_most": _POSITIVE}
    return object_of(
        BACKEND,
        {
            "servers": set_of(value_of(SERVER, "http://127.0.0.1:9000")),
            "balance": one_of([one.value for one in Balance]),
            "timeouts": object_of(TIMEOUTS, dict.fromkeys(TIMEOUTS, _DURATION)),
            "health": object_of(
                HEALTH,
                {
                    "path": value_of(re.compile(r"/[!-\"$-~]*"), "/health"),
                    "every": _DURATION,
                    "timeout": _DURATION,
                    "host": value_of(HOST, "lms.example"),
                    "down_after": _POSITIVE,
                    "up_after": _POSITIVE,
                },
            ),
            "eject": {"anyOf": [{"const": NO_EJECTION}, object_of(EJECT, eject)]},
            "breaker": object_of(BREAKER, dict.fromkeys(BREAKER, _POSITIVE)),
            "retry": one_of(RETRIES),
            "tls": object_of(
                BACKEND_TLS,
                {
                    "ca": file,
                    "certificate": file,
                    "key": file,
                    "server_name": value_of(HOST, "lms.example"),
                    "verify": one_of([one.value for one in Verify]),
                },
            ),
        },
    )


def _issuer() -> Schema:
    families = [{"items": one_of(sorted(words))} for words in FAMILIES.values()]
    every = sorted(word for words in FAMILIES.values() for word in words)
    key = object_of(KEY, {"kid": WORD, "secret": WORD, "public_key": WORD})
    schema = object_of(
        ISSUER,
        {
            "issuer": WORD,
            "audience": one_or_many(WORD),
            "algorithms": {**set_of(one_of(every)), "anyOf": families},
            "secret": WORD,
            "public_key": WORD,
            "keys": list_of({**key, "oneOf": _exactly_one("secret", "public_key")}),
            "roles": value_of(CLAIM_PATH, "$.role", "$.realm_access.roles"),
            "leeway": _DURATION,
        },
    )
    return {**schema, "oneOf": _exactly_one("secret", "public_key", "keys")}


def _exactly_one(*names: str) -> list[Schema]:
    return [{"required": [name]} for name in names]


def _limit() -> Schema:
    role = {**word_of(ROLE), "not": {"const": ANYONE}}
    return object_of(
        LIMIT,
        {
            "rate": {"anyOf": [_RATE, table_of(role, _RATE)]},
            "per": one_of([per.value for per in Per]),
            "burst": _POSITIVE,
            "on_store_failure": one_of([way.value for way in OnStoreFailure]),
            "precision": one_of([one.value for one in Precision]),
        },
    )


def _rule() -> Schema:
    path, name = {"pattern": r"^\$"}, {"minLength": 1}
    kinds = [kind.value for kind in Ambiguity if kind not in INTOLERABLE]
    return object_of(
        RULE,
        {
            "id": word_of(RULE_ID),
            "match": {"type": "string", "pattern": _match(), "examples": _MATCHES},
            "allow": {"anyOf": [{"const": ANYONE}, set_of(_ROLE)]},
            "scopes": set_of(word_of(SCOPE)),
            "owner": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
            "when": {
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_LENGTH,
                "examples": ["claims.sub == path.id || role == 'admin'"],
            },
            "addresses": _addresses(),
            "mode": one_of(POLICY_MODES),
            "backend": _NAME,
            "limits": list_of({"anyOf": [_NAME, {"$ref": "#/$defs/limit"}]}),
            "protect": object_of(
                PROTECT,
                {
                    "request": table_of(path, _NAME),
                    "response": table_of(path, _NAME),
                    "query": table_of(name, _NAME),
                    "form": table_of(name, _NAME),
                },
            ),
            "count": word_of(COUNTER),
            "tolerate": set_of(one_of(kinds)),
            "max_body": _SIZE,
            "log": _SHARE,
            "audit": one_of([kind.value for kind in Audit]),
            "timeouts": object_of(
                RULE_TIMEOUTS, dict.fromkeys(RULE_TIMEOUTS, _DURATION)
            ),
        },
    )


def _addresses() -> Schema:
    return object_of(ADDRESSES, {"allow": _ADDRESSES, "deny": _ADDRESSES})


def _field() -> Schema:
    return object_of(
        FIELD,
        {
            "mode": one_of(MODES),
            "overhead": one_of(OVERHEADS),
            "shape": one_of(SHAPES),
            "mail_domain": {"type": "string", "examples": ["enc.lms.example"]},
            "normalise": {"anyOf": [{"const": NO_STEPS}, set_of(one_of(STEPS))]},
            "accept_leakage": {"enum": [True, False, *YES_OR_NO]},
            "key": word_of(KEY_ID),
            "max_length": _POSITIVE,
            "max_bytes": _POSITIVE,
            "min_length": _POSITIVE,
            "reads": set_of(one_of(READABLE)),
            "on_error": one_of(ON_ERROR),
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
    view = table_of(word_of(GLOB), views)
    shapes = {
        "version": _VERSION,
        "deployment": WORD,
        "health": {"type": "string", "pattern": r"^(?:none|/.*)$"},
        "mode": one_of(POLICY_MODES),
        "backends": table_of(_NAME, {"$ref": "#/$defs/backend"}),
        "issuers": table_of(_NAME, {"$ref": "#/$defs/issuer"}),
        "roles": set_of({"anyOf": [_ROLE, _heir()]}),
        "addresses": table_of(_NAME, _ADDRESSES),
        "limits": table_of(_NAME, {"$ref": "#/$defs/limit"}),
        "fields": table_of(_NAME, _field()),
        "views": table_of(word_of(ROLE), view),
        "log": object_of(LOG, {"keys": set_of(one_of(KEYS)), "sample": _SHARE}),
        "rules": list_of({"$ref": "#/$defs/rule"}),
    }
    return {
        "$schema": DIALECT,
        "title": "A policy of lumina-proxy",
        **object_of(DOCUMENT, shapes),
        "$defs": {
            "backend": _backend(),
            "issuer": _issuer(),
            "limit": _limit(),
            "rule": _rule(),
        },
    }


def cases_schema() -> Schema:
    """Return the schema of a file of test cases."""
    fields = set_of(_NAME, least=0)
    limit = word_of(re.compile(r"[A-Za-z0-9_.#-]+"))
    expect = object_of(
        EXPECT,
        {
            "outcome": one_of(["allowed", "refused"]),
            "reason": one_of([reason.slug for reason in Reason]),
            "rule": word_of(RULE_ID),
            "role": _ROLE,
            "backend": _NAME,
            "limits": {"anyOf": [set_of(limit, least=0), table_of(limit, _RATE)]},
            "encrypted": fields,
            "plain": fields,
            "masked": fields,
        },
    )
    case = object_of(
        CASE,
        {
            "name": WORD,
            "request": one_or_many(
                value_of(re.compile(r"[!-`{-~]+ \S+"), "GET /api/users/7")
            ),
            "as": one_or_many(word_of(ROLE)),
            "claims": {"type": "object", "minProperties": 1},
            "issuer": _NAME,
            "client": WORD,
            "headers": table_of(word_of(re.compile(r"[a-z0-9_.-]+")), WORD),
            "time": {**WORD, "examples": ["2026-03-01T08:30:00Z"]},
            "expect": expect,
        },
    )
    case = {**case, "oneOf": _exactly_one("as", "claims")}
    return {
        "$schema": DIALECT,
        "title": "Test cases of a policy of lumina-proxy",
        **object_of(CASES, {"version": _VERSION, "cases": list_of(case)}),
    }
