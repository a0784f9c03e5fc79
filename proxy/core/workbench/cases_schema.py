"""JSON Schema (2020-12) of the test cases of a policy, for editors; see ``schema``."""

import re

from proxy.core.policy_roles import ROLE
from proxy.core.policy_rules import RULE_ID
from proxy.core.reasons import Reason
from proxy.core.workbench.case_keys import CASE, CASES, EXPECT
from proxy.core.workbench.schema import (
    DIALECT,
    NAME_WORD,
    ROLE_WORD,
    VERSION,
    exactly_one,
)
from proxy.core.workbench.schema_limits import RATE
from proxy.core.workbench.shapes import (
    WORD,
    Schema,
    array,
    mapping,
    one_or_many,
    table,
    unique,
    value,
    word,
    words,
)


def cases_schema() -> Schema:
    """Return the schema of a file of test cases."""
    fields = unique(NAME_WORD, least=0)
    limit = word(re.compile(r"[A-Za-z0-9_.#-]+"))
    expect = mapping(
        EXPECT,
        {
            "outcome": words(["allowed", "refused"]),
            "reason": words([reason.slug for reason in Reason]),
            "rule": word(RULE_ID),
            "role": ROLE_WORD,
            "backend": NAME_WORD,
            "limits": {"anyOf": [unique(limit, least=0), table(limit, RATE)]},
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
            "listener": NAME_WORD,
            "issuer": NAME_WORD,
            "client": WORD,
            "headers": table(word(re.compile(r"[a-z0-9_.-]+")), WORD),
            "time": {**WORD, "examples": ["2026-03-01T08:30:00Z"]},
            "expect": expect,
        },
    )
    case = {**case, "oneOf": exactly_one("as", "claims")}
    return {
        "$schema": DIALECT,
        "title": "Test cases of a policy of lumina-proxy",
        **mapping(CASES, {"version": VERSION, "cases": array(case)}),
    }
