"""JSON Schema (2020-12) of a policy, for editors.

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
from proxy.core.conditions import MAX_LENGTH
from proxy.core.observing import Audit
from proxy.core.paths import INTOLERABLE, Ambiguity
from proxy.core.policy import ANYONE, View
from proxy.core.policy_bindings import BIND
from proxy.core.policy_fields import (
    KEY_ID,
    MODES,
    NO_STEPS,
    ON_ERROR,
    OVERHEADS,
    READABLE,
    SHAPES,
    STEPS,
)
from proxy.core.policy_guards import MODES as POLICY_MODES
from proxy.core.policy_guards import SCOPE
from proxy.core.policy_issuers import CLAIM_PATH, KEY_SOURCES
from proxy.core.policy_keys import (
    ADDRESSES,
    COOKIES,
    CORS,
    DOCUMENT,
    FIELD,
    ISSUER,
    KEY,
    LOG,
    PROTECT,
    REQUIRE,
    RESPONSES,
    RULE,
    RULE_TIMEOUTS,
    UPGRADE,
)
from proxy.core.policy_limits import LIMIT_HEADERS
from proxy.core.policy_observing import ALL, NONE, PERCENT
from proxy.core.policy_responses import NOTHING, ORIGIN, SOURCE, TOKEN
from proxy.core.policy_roles import DEFAULT, ROLE
from proxy.core.policy_rules import COUNTER, METHODS, RULE_ID
from proxy.core.policy_sections import GLOB
from proxy.core.policy_upgrade import PROTOCOL
from proxy.core.policy_values import NAME, YES_OR_NO
from proxy.core.responses import SameSite
from proxy.core.workbench.network_schema import backend, listener
from proxy.core.workbench.schema_limits import A_SIZE as _SIZE
from proxy.core.workbench.schema_limits import limit_schema
from proxy.core.workbench.schema_logins import login_schema
from proxy.core.workbench.shapes import DURATION as _DURATION
from proxy.core.workbench.shapes import POSITIVE as _POSITIVE
from proxy.core.workbench.shapes import VARIABLE as _VARIABLE
from proxy.core.workbench.shapes import WORD as _WORD
from proxy.core.workbench.shapes import Schema
from proxy.core.workbench.shapes import array as _list
from proxy.core.workbench.shapes import mapping as _object
from proxy.core.workbench.shapes import one_or_many as _one_or_many
from proxy.core.workbench.shapes import table as _table
from proxy.core.workbench.shapes import unique as _set
from proxy.core.workbench.shapes import value as _value
from proxy.core.workbench.shapes import word as _word
from proxy.core.workbench.shapes import words as _words

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
        _VARIABLE,
    ],
    "examples": ["10%"],
}
NAME_WORD = _word(NAME)
_PROTOCOLS = _set({**_word(PROTOCOL), "examples": ["websocket"]})
ROLE_WORD: Schema = {**_word(ROLE), "not": {"enum": [ANYONE, DEFAULT]}}
VERSION: Schema = {"enum": [1, "1"]}
_ADDRESSES = {**_set(_WORD), "examples": [["10.0.0.0/8", "2001:db8::/32"]]}


def _heir() -> Schema:
    """A role that may whatever others may."""
    role = {**_table(_word(ROLE), _set(ROLE_WORD)), "maxProperties": 1}
    return {**role, "examples": [{"teacher": ["student"]}]}


def _responses() -> Schema:
    def or_nothing(shape: Schema) -> Schema:
        return {"anyOf": [{"const": NOTHING}, shape]}

    yes_or_no: Schema = {"enum": [True, False, *YES_OR_NO]}
    fields = _table(_word(TOKEN), _WORD)
    tokens = or_nothing(_set(_word(TOKEN)))
    source = _value(re.compile(f"'(?:self|none)'|{SOURCE.pattern}"), "self")
    cookies = {
        "secure": yes_or_no,
        "http_only": yes_or_no,
        "same_site": _words([one.value for one in SameSite]),
        "readable": _set(_word(TOKEN)),
    }
    cors = {
        "origins": _set(_value(ORIGIN, "https://app.example")),
        "headers": tokens,
        "expose": tokens,
        "credentials": yes_or_no,
        "max_age": _DURATION,
    }
    return _object(
        RESPONSES,
        {
            "set": fields,
            "default": fields,
            "remove": {**tokens, "examples": [["Server", "X-Powered-By"]]},
            "frame_ancestors": or_nothing(_set(source)),
            "cookies": or_nothing(_object(COOKIES, cookies)),
            "cors": or_nothing(_object(CORS, cors)),
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
            "keys": _list({**key, "oneOf": exactly_one("secret", "public_key")}),
            "jwks": _value(re.compile(r"(?:https?://|file:).+"), *_KEY_PLACES),
            "discovery": _value(re.compile(r"https?://.+"), _METADATA),
            "refresh": _DURATION,
            "keep": _DURATION,
            "roles": _value(CLAIM_PATH, "$.role", "$.realm_access.roles"),
            "leeway": _DURATION,
            "types": _one_or_many(_WORD),
            "max_lifetime": _DURATION,
            "require": _one_or_many(_WORD),
        },
    )
    return {**schema, "oneOf": exactly_one(*KEY_SOURCES)}


_METADATA = "https://login.example/.well-known/openid-configuration"
_KEY_PLACES = ("https://login.example/jwks", "file:/run/keys/jwks.json")


def exactly_one(*names: str) -> list[Schema]:
    """Return what asks for one of these keys."""
    return [{"required": [name]} for name in names]


_WHEN: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_LENGTH,
    "examples": ["claims.sub == path.id || role == 'admin'"],
}


def _require() -> Schema:
    words = _one_or_many(_WORD)
    return _object(REQUIRE, {"acr": words, "amr": words, "max_age": _DURATION})


def _rule() -> Schema:
    kinds = [kind.value for kind in Ambiguity if kind not in INTOLERABLE]
    return _object(
        RULE,
        {
            "id": _word(RULE_ID),
            "match": {"type": "string", "pattern": _match(), "examples": _MATCHES},
            "allow": {"anyOf": [{"const": ANYONE}, _set(ROLE_WORD)]},
            "require": _require(),
            "scopes": _set(_word(SCOPE)),
            "owner": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
            "when": _WHEN,
            "addresses": _object(ADDRESSES, {"allow": _ADDRESSES, "deny": _ADDRESSES}),
            "mode": _words(POLICY_MODES),
            "listener": NAME_WORD,
            "backend": NAME_WORD,
            "limits": _list({"anyOf": [NAME_WORD, {"$ref": "#/$defs/limit"}]}),
            "login": NAME_WORD,
            "protect": _protect(),
            "count": _word(COUNTER),
            "tolerate": _set(_words(kinds)),
            "max_body": _SIZE,
            "log": _SHARE,
            "audit": _words([kind.value for kind in Audit]),
            "responses": {"anyOf": [{"const": NOTHING}, {"$ref": "#/$defs/responses"}]},
            "timeouts": _object(RULE_TIMEOUTS, dict.fromkeys(RULE_TIMEOUTS, _DURATION)),
            "upgrade": {"anyOf": [_PROTOCOLS, _upgrade()]},
        },
    )


def _protect() -> Schema:
    path, name = {"pattern": r"^\$"}, {"minLength": 1}
    return _object(
        PROTECT,
        {
            "request": _table(path, NAME_WORD),
            "response": _table(path, NAME_WORD),
            "query": _table(name, NAME_WORD),
            "form": _table(name, NAME_WORD),
        },
    )


def _upgrade() -> Schema:
    return _object(
        UPGRADE,
        {
            "protocols": _PROTOCOLS,
            "idle": _DURATION,
            "close_on_expiry": {"enum": [True, False, *YES_OR_NO]},
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
            "bind": _value(BIND, "claim(sub)", "path(id)"),
            "subject": _value(BIND, "claim(sub)", "path(id)"),
            "shared": {"enum": [True, False, *YES_OR_NO]},
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
        "version": VERSION,
        "include": {**_set(_WORD), "examples": [["rules/", "roles.yaml"]]},
        "deployment": _WORD,
        "tenant": _value(CLAIM_PATH, "$.school"),
        "health": {"type": "string", "pattern": r"^(?:none|/.*)$"},
        "mode": _words(POLICY_MODES),
        "listeners": _table(NAME_WORD, listener()),
        "backends": _table(NAME_WORD, {"$ref": "#/$defs/backend"}),
        "issuers": _table(NAME_WORD, {"$ref": "#/$defs/issuer"}),
        "roles": _set({"anyOf": [ROLE_WORD, _heir()]}),
        "addresses": _table(NAME_WORD, _ADDRESSES),
        "limits": _table(NAME_WORD, {"$ref": "#/$defs/limit"}),
        "logins": _table(NAME_WORD, login_schema()),
        "limit_headers": _words(LIMIT_HEADERS),
        "fields": _table(NAME_WORD, _field()),
        "views": _table(_word(ROLE), view),
        "log": _object(LOG, {"keys": _set(_words(KEYS)), "sample": _SHARE}),
        "responses": {"$ref": "#/$defs/responses"},
        "rules": _list({"$ref": "#/$defs/rule"}),
    }
    return {
        "$schema": DIALECT,
        "title": "A policy of lumina-proxy",
        **_object(DOCUMENT, shapes),
        "$defs": {
            "backend": backend(),
            "issuer": _issuer(),
            "limit": limit_schema(),
            "responses": _responses(),
            "rule": _rule(),
        },
    }
