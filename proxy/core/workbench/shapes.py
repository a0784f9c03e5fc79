"""The shapes that a JSON Schema of ours is put together from.

Nothing here knows what a policy is made of.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from proxy.core.policy_keys import Keys, required
from proxy.core.policy_values import DURATION as SPAN

Schema = dict[str, Any]

VARIABLE: Schema = {"type": "string", "pattern": r"\$\{"}
"""A value with a variable in it, which may be anything."""

WORD: Schema = {"type": ["string", "number", "boolean"], "minLength": 1}
"""What an editor types as a number or a boolean is a word to the parser."""


POSITIVE: Schema = {
    "anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "string", "pattern": "^[1-9][0-9]{0,14}$"},
        VARIABLE,
    ]
}
"""A whole number above 0."""


def pattern_of(pattern: re.Pattern[str]) -> str:
    """Return a pattern of ours, whole and as ECMAScript has it."""
    return f"^(?:{re.sub(r'[(][?]P<[^>]+>', '(?:', pattern.pattern)})$"


def word(pattern: re.Pattern[str]) -> Schema:
    """A word that cannot come from the environment."""
    return {**WORD, "pattern": pattern_of(pattern)}


def value(pattern: re.Pattern[str], *examples: str) -> Schema:
    """A value that may come from the environment."""
    written = {"type": "string", "pattern": pattern_of(pattern)}
    return {"anyOf": [written, VARIABLE], "examples": list(examples)}


def array(items: Schema, *, least: int = 1) -> Schema:
    """A list."""
    return {"type": "array", "items": items, "minItems": least}


def unique(items: Schema, *, least: int = 1) -> Schema:
    """A list that has nothing twice."""
    return {**array(items, least=least), "uniqueItems": True}


def one_or_many(items: Schema) -> Schema:
    """One of something, or a list."""
    return {"anyOf": [items, array(items)]}


def table(names: Schema, values: Schema) -> Schema:
    """A mapping whose keys are names."""
    return {
        "type": "object",
        "propertyNames": names,
        "additionalProperties": values,
        "minProperties": 1,
    }


def mapping(keys: Keys, shapes: Mapping[str, Schema]) -> Schema:
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


def words(known: Collection[str]) -> Schema:
    """One of some words."""
    return {"enum": list(known)}


DURATION = value(SPAN, "250ms", "2s", "1m", "1h")
"""A length of time."""
