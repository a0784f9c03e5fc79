"""JSON Schema of what a policy says of both sides of the wire: listeners, backends."""

import re

from proxy.core.backends import Balance, Verify
from proxy.core.listener_keys import LISTENER, LISTENER_TLS
from proxy.core.listeners import ADDRESS
from proxy.core.policy_backends import FILE, HOST, NO_EJECTION, RETRIES, SERVER
from proxy.core.policy_keys import (
    BACKEND,
    BACKEND_TLS,
    BREAKER,
    EJECT,
    HEALTH,
    TIMEOUTS,
)
from proxy.core.policy_listeners import TLS_VERSIONS
from proxy.core.policy_values import NAME, YES_OR_NO
from proxy.core.workbench.shapes import (
    DURATION,
    POSITIVE,
    Schema,
    mapping,
    unique,
    value,
    word,
    words,
)


def backend() -> Schema:
    """Return the schema of a backend."""
    file = value(FILE, "/etc/lumina/ca.pem")
    eject = {"after": POSITIVE, "for": DURATION, "at_most": POSITIVE}
    return mapping(
        BACKEND,
        {
            "servers": unique(value(SERVER, "http://127.0.0.1:9000")),
            "balance": words([one.value for one in Balance]),
            "timeouts": mapping(TIMEOUTS, dict.fromkeys(TIMEOUTS, DURATION)),
            "health": mapping(
                HEALTH,
                {
                    "path": value(re.compile(r"/[!-\"$-~]*"), "/health"),
                    "every": DURATION,
                    "timeout": DURATION,
                    "host": value(HOST, "lms.example"),
                    "down_after": POSITIVE,
                    "up_after": POSITIVE,
                },
            ),
            "limits": unique(word(NAME)),
            "eject": {"anyOf": [{"const": NO_EJECTION}, mapping(EJECT, eject)]},
            "breaker": mapping(BREAKER, dict.fromkeys(BREAKER, POSITIVE)),
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


def listener() -> Schema:
    """Return the schema of a listener."""
    file = value(FILE, "/etc/lumina/tls.crt")
    # What an editor types as a number is a word to the parser.
    versions = [*TLS_VERSIONS, *map(float, TLS_VERSIONS)]
    tls = {"certificate": file, "key": file, "oldest": {"enum": versions}}
    return mapping(
        LISTENER,
        {
            "listen": value(ADDRESS, "127.0.0.1:8081", "unix:/run/lumina/egress.sock"),
            "tls": mapping(LISTENER_TLS, tls),
            "proxy_protocol": {"enum": [True, False, *YES_OR_NO]},
            "max_connections": POSITIVE,
        },
    )
