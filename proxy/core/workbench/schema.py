"""JSON Schema (2020-12) of a policy and of its test cases, for editors.

What a key is called, what it says and whether it must be there is the parser's own
table (``policy_keys``), and so are words and patterns. What is here is the shape of
each value; a key without one cannot be written down, for the schema is not built.

It refuses less than the parser does: what takes more than one place to see, such as a
role that does not exist, only ``check`` finds. It never refuses what the parser reads.
YAML has types and the parser has none, so a value may be typed as an editor reads it.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from proxy.core.authn import FAMILIES
from proxy.core.paths import INTOLERABLE, Ambiguity
from proxy.core.policy import ANYONE, OnStoreFailure, Per, Precision, View
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
from proxy.core.policy_issuers import CLAIM_PATH
from proxy.core.policy_keys import (
    BACKEND,
    CASE,
    CASES,
    DOCUMENT,
    EXPECT,
    FIELD,
    HEALTH,
    ISSUER,
    KEY,
    LIMIT,
    PROTECT,
    RULE,
    TIMEOUTS,
    Keys,
    required,
)
from proxy.core.policy_rules import COUNTER, METHODS, RULE_ID
from proxy.core.policy_sections import DEFAULT, GLOB, PERIODS, ROLE, SERVER, UNLIMITED
from proxy.core.policy_values import DURATION, NAME, SIZE
from proxy.core.reasons import Reason

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_VARIABLE: Schema = {"type": "string", "pattern": r"\$\{"}
"""A value with a variable in it, which may be anything."""

# What an editor types as a number or a boolean is a word to the parser.
_WORD: Schema = {"type": ["string", "number", "boolean"], "minLength": 1}

_LITERAL = r"(?!\*{1,2}(?:/|$))[^/{}?#\s]+"
_PARAMETER = r"\{[A-Za-z_][A-Za-z0-9_]*\}"
_REST = r"\{[A-Za-z_][A-Za-z0-9_]*\.\.\.\}"
_SEGMENT = f"(?:{_LITERAL}|{_PARAMETER})"
_PATH = f"/(?:{_SEGMENT}(?:/{_SEGMENT})*(?:/(?:{_REST})?)?|{_REST})?"


def _pattern(pattern: re.Pattern[str]) -> str:
    """Return a pattern of ours, whole and as ECMAScript has it."""
    return f"^(?:{re.sub(r'[(][?]P<[^>]+>', '(?:', pattern.pattern)})$"


def _word(pattern: re.Pattern[str]) -> Schema:
    """A word that cannot come from the environment."""
    return {**_WORD, "pattern": _pattern(pattern)}


def _value(pattern: re.Pattern[str], *examples: str) -> Schema:
    """A value that may come from the environment."""
    written = {"type": "string", "pattern": _pattern(pattern)}
    return {"anyOf": [written, _VARIABLE], "examples": list(examples)}


def _list(items: Schema, *, least: int = 1) -> Schema:
    return {"type": "array", "items": items, "minItems": least}


def _set(items: Schema, *, least: int = 1) -> Schema:
    return {**_list(items, least=least), "uniqueItems": True}


def _one_or_many(items: Schema) -> Schema:
    return {"anyOf": [items, _list(items)]}


def _table(names: Schema, values: Schema) -> Schema:
    """A mapping whose keys are names."""
    return {
        "type": "object",
        "propertyNames": names,
        "additionalProperties": values,
        "minProperties": 1,
    }


def _object(keys: Keys, shapes: Mapping[str, Schema]) -> Schema:
    """A mapping with fixed keys, each with its shape."""
    schema: Schema = {
        "type": "object",
        "properties": {
            name: {"description": key.says, **shapes[name]}
            for name, key in keys.items()
        },
        "additionalProperties": False,
        "minProperties": 1,
    }
    if must := required(keys):
        schema["required"] = list(must)
    return schema


def _words(words: Collection[str]) -> Schema:
    return {"enum": list(words)}


_NAME = _word(NAME)
_POSITIVE: Schema = {
    "anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "string", "pattern": "^[1-9][0-9]{0,14}$"},
        _VARIABLE,
    ]
}
_DURATION = _value(DURATION, "250ms", "2s", "1m", "1h")
_RATE = _value(
    re.compile(
        f"{UNLIMITED}|[0-9]{{1,15}} ?/ ?(?:{'|'.join(PERIODS)}|{DURATION.pattern})"
    ),
    *("5/minute", "100/hour", "10/30s", UNLIMITED),
)
_SIZE: Schema = {
    "anyOf": [{"type": "integer", "minimum": 0}, *_value(SIZE)["anyOf"]],
    "examples": ["64KiB", "10MB", "1GiB"],
}
_ROLE: Schema = {**_word(ROLE), "not": {"enum": [ANYONE, DEFAULT]}}
_VERSION: Schema = {"enum": [1, "1"]}


def _backend() -> Schema:
    return _object(
        BACKEND,
        {
            "servers": _set(_value(SERVER, "http://127.0.0.1:9000")),
            "timeouts": _object(TIMEOUTS, dict.fromkeys(TIMEOUTS, _DURATION)),
            "health": _object(
                HEALTH,
                {
                    "path": _value(re.compile(r"/[!-\"$-~]*"), "/health"),
                    "every": _DURATION,
                },
            ),
        },
    )


def _issuer() -> Schema:
    families = [{"items": _words(sorted(words))} for words in FAMILIES.values()]
    every = sorted(word for words in FAMILIES.values() for word in words)
    key = _object(KEY, {"kid": _WORD, "secret": _WORD, "public_key": _WORD})
    schema = _object(
        ISSUER,
        {
            "issuer": _WORD,
            "audience": _one_or_many(_WORD),
            "algorithms": {**_set(_words(every)), "anyOf": families},
            "secret": _WORD,
            "public_key": _WORD,
            "keys": _list({**key, "oneOf": _exactly_one("secret", "public_key")}),
            "roles": _value(CLAIM_PATH, "$.role", "$.realm_access.roles"),
            "leeway": _DURATION,
        },
    )
    return {**schema, "oneOf": _exactly_one("secret", "public_key", "keys")}


def _exactly_one(*names: str) -> list[Schema]:
    return [{"required": [name]} for name in names]


def _limit() -> Schema:
    role = {**_word(ROLE), "not": {"const": ANYONE}}
    return _object(
        LIMIT,
        {
            "rate": {"anyOf": [_RATE, _table(role, _RATE)]},
            "per": _words([per.value for per in Per]),
            "burst": _POSITIVE,
            "on_store_failure": _words([way.value for way in OnStoreFailure]),
            "precision": _words([one.value for one in Precision]),
        },
    )


def _rule() -> Schema:
    path, name = {"pattern": r"^\$"}, {"minLength": 1}
    kinds = [kind.value for kind in Ambiguity if kind not in INTOLERABLE]
    return _object(
        RULE,
        {
            "id": _word(RULE_ID),
            "match": {"type": "string", "pattern": _match(), "examples": _MATCHES},
            "allow": {"anyOf": [{"const": ANYONE}, _set(_ROLE)]},
            "backend": _NAME,
            "limits": _list({"anyOf": [_NAME, {"$ref": "#/$defs/limit"}]}),
            "protect": _object(
                PROTECT,
                {
                    "request": _table(path, _NAME),
                    "response": _table(path, _NAME),
                    "query": _table(name, _NAME),
                    "form": _table(name, _NAME),
                },
            ),
            "count": _word(COUNTER),
            "tolerate": _set(_words(kinds)),
            "max_body": _SIZE,
        },
    )


def _field() -> Schema:
    return _object(
        FIELD,
        {
            "mode": _words(MODES),
            "overhead": _words(OVERHEADS),
            "shape": _words(SHAPES),
            "mail_domain": {"type": "string", "examples": ["enc.lms.example"]},
            "normalise": {"anyOf": [{"const": NO_STEPS}, _set(_words(STEPS))]},
            "accept_leakage": {"enum": [True, False, *YES_OR_NO]},
            "key": _word(KEY_ID),
            "max_length": _POSITIVE,
            "max_bytes": _POSITIVE,
            "min_length": _POSITIVE,
            "reads": _set(_words(READABLE)),
            "on_error": _words(ON_ERROR),
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
    view = _table(_word(GLOB), views)
    shapes = {
        "version": _VERSION,
        "deployment": _WORD,
        "health": {"type": "string", "pattern": r"^(?:none|/.*)$"},
        "backends": _table(_NAME, {"$ref": "#/$defs/backend"}),
        "issuers": _table(_NAME, {"$ref": "#/$defs/issuer"}),
        "roles": _set(_ROLE),
        "limits": _table(_NAME, {"$ref": "#/$defs/limit"}),
        "fields": _table(_NAME, _field()),
        "views": _table(_word(ROLE), view),
        "rules": _list({"$ref": "#/$defs/rule"}),
    }
    return {
        "$schema": DIALECT,
        "title": "A policy of lumina-proxy",
        **_object(DOCUMENT, shapes),
        "$defs": {
            "backend": _backend(),
            "issuer": _issuer(),
            "limit": _limit(),
            "rule": _rule(),
        },
    }


def cases_schema() -> Schema:
    """Return the schema of a file of test cases."""
    fields = _set(_NAME, least=0)
    limit = _word(re.compile(r"[A-Za-z0-9_.#-]+"))
    expect = _object(
        EXPECT,
        {
            "outcome": _words(["allowed", "refused"]),
            "reason": _words([reason.slug for reason in Reason]),
            "rule": _word(RULE_ID),
            "role": _ROLE,
            "backend": _NAME,
            "limits": {"anyOf": [_set(limit, least=0), _table(limit, _RATE)]},
            "encrypted": fields,
            "plain": fields,
            "masked": fields,
        },
    )
    case = _object(
        CASE,
        {
            "name": _WORD,
            "request": _one_or_many(
                _value(re.compile(r"[!-`{-~]+ \S+"), "GET /api/users/7")
            ),
            "as": _one_or_many(_word(ROLE)),
            "claims": {"type": "object", "minProperties": 1},
            "issuer": _NAME,
            "expect": expect,
        },
    )
    case = {**case, "oneOf": _exactly_one("as", "claims")}
    return {
        "$schema": DIALECT,
        "title": "Test cases of a policy of lumina-proxy",
        **_object(CASES, {"version": _VERSION, "cases": _list(case)}),
    }
