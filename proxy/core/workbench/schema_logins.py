"""What editors are told of counting failed log-ins."""

from proxy.core.policy_login_keys import ACCOUNT, BACKOFF, LOGIN
from proxy.core.policy_logins import STATUS
from proxy.core.policy_values import DURATION
from proxy.core.workbench.shapes import (
    POSITIVE,
    WORD,
    Schema,
    mapping,
    one_or_many,
    pattern_of,
    value,
)


def login_schema() -> Schema:
    """Return the schema of how failed log-ins are counted."""
    duration = value(DURATION, "1m", "1h", "30d")
    times = dict.fromkeys(("wait", "most", "forget"), duration)
    backoff = mapping(BACKOFF, {"free": POSITIVE, **times})
    status: Schema = {
        "anyOf": [
            {"type": "integer", "minimum": 200, "maximum": 499},
            {"type": "string", "pattern": pattern_of(STATUS)},
        ],
        "examples": [401],
    }
    account = mapping(
        ACCOUNT, {"json": {"type": "string", "pattern": r"^\$"}, "form": WORD}
    )
    return mapping(
        LOGIN,
        {
            "account": account,
            "failed": one_or_many(status),
            **dict.fromkeys(("per_account", "per_client", "per_known"), backoff),
            "known_for": duration,
        },
    )
