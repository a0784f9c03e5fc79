"""What editors are told of limits, and of numbers that are not theirs alone."""

import re

from proxy.core.limit import OnStoreFailure, Precision
from proxy.core.policy import ANYONE
from proxy.core.policy_guards import MODES
from proxy.core.policy_limit_keys import COST, LIMIT
from proxy.core.policy_limits import (
    FIELD_NAME,
    KINDS,
    MAX_PARTS,
    PART,
    PERIODS,
    PLAIN_PARTS,
    UNLIMITED,
)
from proxy.core.policy_roles import ROLE
from proxy.core.policy_values import DURATION, SIZE, YES_OR_NO
from proxy.core.windows import WINDOWS
from proxy.core.workbench.shapes import (
    POSITIVE,
    Schema,
    mapping,
    table,
    unique,
    value,
    word,
    words,
)

A_SIZE: Schema = {
    "anyOf": [{"type": "integer", "minimum": 0}, *value(SIZE)["anyOf"]],
    "examples": ["64KiB", "10MB", "1GiB"],
}
RATE = value(
    re.compile(
        f"{UNLIMITED}|[0-9]{{1,15}} ?/ ?(?:{'|'.join(PERIODS)}|{DURATION.pattern})"
    ),
    *("5/minute", "100/hour", "10/30s", UNLIMITED),
)
A_QUOTA = value(
    re.compile(f"{UNLIMITED}|[0-9]{{1,15}} ?/ ?(?:{'|'.join(WINDOWS)})"),
    *("5000/day", UNLIMITED),
)


def limit_schema() -> Schema:
    """Return the schema of a limit."""
    role = {**word(ROLE), "not": {"const": ANYONE}}
    at_a_time = {"anyOf": [POSITIVE, {"const": UNLIMITED}]}
    part = value(PART, *PLAIN_PARTS, "header.X-Api-Version", "path.id")
    cost = {
        **dict.fromkeys(("header", "response_header"), word(FIELD_NAME)),
        **dict.fromkeys(("most", "usual"), POSITIVE),
        "body": A_SIZE,
    }
    schema = mapping(
        LIMIT,
        {
            "rate": {"anyOf": [RATE, table(role, RATE)]},
            "quota": {"anyOf": [A_QUOTA, table(role, A_QUOTA)]},
            "concurrent": {"anyOf": [at_a_time, table(role, at_a_time)]},
            "per": {"anyOf": [part, {**unique(part), "maxItems": MAX_PARTS}]},
            "burst": POSITIVE,
            "cost": {"anyOf": [POSITIVE, mapping(COST, cost)]},
            "zone": {"type": "string", "examples": ["UTC", "Europe/Berlin"]},
            "mode": words(MODES),
            "everywhere": {"enum": [True, False, *YES_OR_NO]},
            "on_store_failure": words([way.value for way in OnStoreFailure]),
            "precision": words([one.value for one in Precision]),
        },
    )
    return {**schema, "oneOf": [{"required": [kind]} for kind in KINDS]}
