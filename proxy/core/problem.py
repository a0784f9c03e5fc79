"""Reason to problem document (RFC 9457).

The body says which rule of ours was applied and nothing that the client did not
already know: no claim, no token, no protected value, no address of the backend.
"""

import json
from typing import Final

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
    if refused.violated:
        # As draft-ietf-httpapi-ratelimit-headers-11 has it.
        document["violated-policies"] = list(refused.violated)
    document["request_id"] = request_id
    return json.dumps(document).encode()


def problem_lines(refused: Refused, *, request_id: str) -> list[bytes]:
    """Return the field lines of a refusal, without framing."""
    return [
        b"Content-Type: application/problem+json\r\nCache-Control: no-store\r\n",
        b"X-Request-ID: %b\r\n" % request_id.encode("ascii"),
        *field_lines(refused.headers),
    ]


PHRASES: Final = {
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
    415: b"Unsupported Media Type",
    417: b"Expectation Failed",
    422: b"Unprocessable Content",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}
"""RFC 9110 section 15, for the statuses of the reasons table."""
