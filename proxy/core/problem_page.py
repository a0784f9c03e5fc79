"""A refusal as a page, for people whose browser asked for one.

It says what the problem document says (``problem``), and is as careless of itself: no
script, no picture, nothing from elsewhere, and it cannot be put into a frame.
"""

import base64
import hashlib
import html
from typing import Final

from proxy.core.errors import Refused
from proxy.core.headers import field_lines
from proxy.core.problem import PHRASES

_STYLE: Final = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;"
    "padding:0 1rem;color:#222;background:#fff}"
    "h1{font-size:1.5rem}dt{color:#666}dd{margin:0 0 .5rem}"
    "code{overflow-wrap:anywhere}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}dt{color:#999}}"
)
_DIGEST: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_LINES: Final = (
    "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n"
    f"Content-Security-Policy: {_POLICY}\r\nX-Content-Type-Options: nosniff\r\n"
).encode("ascii")


def page_body(refused: Refused, *, rule: str, request_id: str) -> bytes:
    """Return the HTML of a refusal.

    Args:
        refused: what happened.
        rule: the id of the matched rule; "" when none was matched.
        request_id: what the access log and X-Request-ID say too.
    """
    reason = refused.reason
    phrase = html.escape(PHRASES[reason.status].decode("ascii"))
    facts = {"Reason": reason.slug, "Rule": rule, "Request": request_id}
    rows = "".join(
        f"<dt>{name}</dt><dd><code>{_escaped(value)}</code></dd>"
        for name, value in facts.items()
        if value
    )
    detail = f"<p>{_escaped(refused.detail)}</p>" if refused.detail else ""
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">'
        f"<title>{reason.status} {phrase}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{reason.status} {phrase}</h1><p>{html.escape(reason.title)}</p>"
        f"{detail}<dl>{rows}</dl></body></html>\n"
    ).encode("ascii")


def page_lines(refused: Refused, *, request_id: str) -> list[bytes]:
    """Return the field lines of a refusal that is a page, without framing."""
    return [
        _LINES,
        b"X-Request-ID: %b\r\n" % request_id.encode("ascii"),
        *field_lines(refused.headers),
    ]


def _escaped(text: str) -> str:
    """Return text that is nothing but text in HTML, in ASCII."""
    return html.escape(text).encode("ascii", "xmlcharrefreplace").decode("ascii")
