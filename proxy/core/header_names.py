"""Names of header fields, and what becomes of each in a request.

Who the client is, where the request came from, and which method or path is meant are
the proxy's to say, so every name by which some backend believes a client is here.
"""

from typing import Final

KEEP: Final = 0
DROP: Final = 1
NOTE: Final = 2
NOTE_AND_KEEP: Final = 3
"""Forwarded, dropped, or acted upon by the proxy itself."""

HOP_BY_HOP: Final[tuple[bytes, ...]] = (
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
)

# Who the client is, as one proxy or another says it to a backend that believes it.
_IDENTITY: Final[tuple[bytes, ...]] = (
    b"remote-user",
    b"x-authenticated-user",
    b"x-authenticated-userid",
    b"x-forwarded-access-token",
    b"x-forwarded-email",
    b"x-forwarded-groups",
    b"x-forwarded-preferred-username",
    b"x-forwarded-user",
    b"x-remote-user",
    b"x-webauth-user",
)
IDENTITY_PREFIXES: Final[tuple[bytes, ...]] = (
    b"x-lumina-",
    b"x-auth-request-",
    b"x-pomerium-",
)

# Where the request came from. Written anew, see ``forwarded_lines``.
_FORWARDING: Final[tuple[bytes, ...]] = (
    b"client-ip",
    b"fastly-client-ip",
    b"forwarded",
    b"front-end-https",
    b"proxy-client-ip",
    b"wl-proxy-client-ip",
    b"true-client-ip",
    b"cf-connecting-ip",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"x-envoy-external-address",
    b"x-forwarded",
    b"x-forwarded-by",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-prefix",
    b"x-forwarded-scheme",
    b"x-forwarded-server",
    b"x-forwarded-ssl",
    b"x-host",
    b"x-original-forwarded-for",
    b"x-original-host",
    b"x-real-ip",
)

# What makes some backends answer another method or path than the one that matched.
_STEERING: Final[tuple[bytes, ...]] = (
    b"proxy",  # to CGI it is HTTP_PROXY, the variable (CVE-2016-5385)
    b"x-forwarded-uri",
    b"x-http-method",
    b"x-http-method-override",
    b"x-method-override",
    b"x-original-uri",
    b"x-original-url",
    b"x-rewrite-url",
)

REQUEST: Final[dict[bytes, int]] = {
    **dict.fromkeys(
        (
            b"accept",
            b"accept-language",
            b"cookie",
            b"origin",
            b"referer",
            b"user-agent",
        ),
        KEEP,
    ),
    **dict.fromkeys((*HOP_BY_HOP, *_IDENTITY, *_FORWARDING, *_STEERING), DROP),
    **dict.fromkeys(
        (
            b"connection",
            b"content-length",
            b"expect",
            b"host",
            b"transfer-encoding",
            b"upgrade",
            b"x-forwarded-for",
            b"x-forwarded-proto",
            b"x-request-id",
        ),
        NOTE,
    ),
    **dict.fromkeys(
        (
            b"accept-encoding",
            b"authorization",
            b"content-encoding",
            b"content-type",
            b"traceparent",
        ),
        NOTE_AND_KEEP,
    ),
}
"""Lower-case name to what happens; a name that is not here is kept."""
