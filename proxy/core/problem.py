"""Reason to problem document (RFC 9457).

The body says which rule of ours was applied and nothing that the client did not
already know: no claim, no token, no protected value, no address of the backend.
"""

import json

from proxy.core.errors import Refused
from proxy.core.headers import field_lines

TYPE_PREFIX = "urn:lumina-proxy:reason:"
"""``type`` is this and the reason's slug; policies/README.md documents each."""


def problem_body(refused: Refused, *, rule: str, request_id: str) -> bytes:
    """Return the JSON body of a refusal.

    Args:
        refused: what happened.
        rule: the id of the matched rule; "" when none was matched.
        request_id: what the access log and X-Request-ID say too.
    """
    reason = refused.reason
    document = {
        "type": TYPE_PREFIX + reason.slug,
        "title": reason.title,
        "status": reason.status,
        "reason": reason.slug,
    }
    if refused.detail:
        document["detail"] = refused.detail
    if rule:
        document["rule"] = rule
    document["request_id"] = request_id
    return json.dumps(document).encode()


def problem_lines(refused: Refused, *, request_id: str) -> list[bytes]:
    """Return the field lines of a refusal, without framing."""
    return [
        b"Content-Type: application/problem+json\r\nCache-Control: no-store\r\n",
        b"X-Request-ID: %b\r\n" % request_id.encode("ascii"),
        *field_lines(refused.headers),
    ]
