"""What may cross: one pass over the header section decides it.

Rules of this file:

1. Framing is never forwarded. Content-Length and Transfer-Encoding are read by the
   parser, and whoever writes a message frames it anew (RFC 9112 section 6).
2. Hop-by-hop fields, and those that Connection names, end here (RFC 9110 section
   7.6.1).
3. Nobody outside says who the client is. Identity, forwarding and steering fields
   are removed whatever their spelling: backends read ``X_Lumina_Role``, and some
   ``X.Lumina.Role``, as ``X-Lumina-Role``, so what is neither a letter nor a digit
   counts as a hyphen.
4. What appears twice and may not is refused, never resolved by a guess.
"""

import functools
import re
from collections.abc import Iterable
from typing import Final

from proxy.core.errors import Refused
from proxy.core.header_names import (
    DROP,
    HOP_BY_HOP,
    IDENTITY_PREFIXES,
    KEEP,
    NOTE_AND_KEEP,
    REQUEST,
)
from proxy.core.message import RawHeaders
from proxy.core.reasons import Reason

# A second one of these would leave two readers with two answers.
_SINGLE: Final = frozenset(
    (
        b"authorization",
        b"content-length",
        b"content-type",
        b"host",
        b"transfer-encoding",
    )
)

# Framing, and what only this proxy says.
_RESPONSE_DROP: Final = frozenset(
    (
        *HOP_BY_HOP,
        b"content-length",
        b"x-lumina-role",
        b"x-lumina-subject",
        b"x-request-id",
    )
)

# Values of Connection that name no field.
_PERSISTENCE: Final = frozenset((b"close", b"keep-alive"))

# What would make an answer compressed, a part of one, or none at all.
_PARTIAL: Final[tuple[bytes, ...]] = (
    b"accept-encoding",
    b"if-match",
    b"if-none-match",
    b"if-range",
    b"range",
)

# What a backend says of bytes that decryption changes.
_OF_THE_BYTES: Final = frozenset(
    (
        b"accept-ranges",
        b"content-digest",
        b"content-md5",
        b"digest",
        b"etag",
        b"repr-digest",
    )
)

_TRACEPARENT: Final = re.compile(
    rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"
).fullmatch
_HOST: Final = re.compile(
    rb"[A-Za-z0-9._~!$&'()*+,;=%-]+(:[0-9]*)?|\[[0-9A-Fa-f:.]+\](:[0-9]*)?"
)
# What a field value made from a claim may hold as it is (RFC 9110 section 5.5).
_NEITHER_LETTER_NOR_DIGIT: Final = re.compile(rb"[^a-z0-9]")
_UNSAFE_IN_VALUE: Final = re.compile(r"[^\x21-\x24\x26-\x7e]")


class RequestHeaders:
    """The header section of a request, examined.

    Attributes:
        kept: the field lines that are forwarded.
        noted: by lower-case name, the values that the proxy itself acts on.
        host: the Host value; b"" from an HTTP/1.0 client that sent none.
    """

    __slots__ = ("host", "kept", "noted")

    def __init__(
        self, kept: RawHeaders, noted: dict[bytes, bytes], host: bytes
    ) -> None:
        self.kept = kept
        self.noted = noted
        self.host = host


def examine(raw: RawHeaders, version: str) -> RequestHeaders:
    """Decide what of a request's header section is forwarded.

    Raises:
        Refused: MALFORMED or EXPECTATION_UNKNOWN.
    """
    kept: RawHeaders = []
    noted: dict[bytes, bytes] = {}
    for field in raw:
        lower = field[0]
        verdict = REQUEST.get(lower)
        if verdict is None:
            if not _is_forged(lower):
                kept.append(field)
        elif verdict == KEEP:
            kept.append(field)
        elif verdict != DROP:
            if lower in noted:
                _refuse_second(lower)
                noted[lower] += b", " + field[2]
            else:
                noted[lower] = field[2]
            if verdict == NOTE_AND_KEEP:
                kept.append(field)
    _check(noted, version)
    named = noted.get(b"connection")
    if named is not None:
        kept = _without_named(kept, named)
    return RequestHeaders(kept, noted, noted.get(b"host", b""))


def _is_forged(lower: bytes) -> bool:
    if not lower.replace(b"-", b"").isalnum():
        lower = _NEITHER_LETTER_NOR_DIGIT.sub(b"-", lower)
        if REQUEST.get(lower, KEEP) != KEEP:
            return True
    return lower.startswith(IDENTITY_PREFIXES)


def _refuse_second(lower: bytes) -> None:
    if lower in _SINGLE:
        raise Refused(
            Reason.MALFORMED, f"The field {lower.decode('ascii')} is there twice."
        )


def _check(noted: dict[bytes, bytes], version: str) -> None:
    host = noted.get(b"host")
    if host is None:
        if version != "1.0":  # RFC 9112 section 3.2
            raise Refused(Reason.MALFORMED, "The Host field is missing.")
    elif not _is_host(host):
        raise Refused(Reason.MALFORMED, "The Host field does not hold one host.")
    coding = noted.get(b"transfer-encoding")
    if coding is not None and (
        version == "1.0" or coding.strip().lower() != b"chunked"
    ):
        raise Refused(
            Reason.MALFORMED, "The only transfer coding this proxy reads is chunked."
        )
    expect = noted.get(b"expect")
    if expect is not None and expect.lower() != b"100-continue":
        raise Refused(Reason.EXPECTATION_UNKNOWN)


@functools.lru_cache(maxsize=256)
def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value) is not None


def _without_named(kept: RawHeaders, connection: bytes) -> RawHeaders:
    named = {token.strip().lower() for token in connection.split(b",")}
    named -= {b"close", b"keep-alive", b"upgrade", b""}
    if not named:
        return kept
    return [field for field in kept if field[0] not in named]


def header_value(text: str) -> bytes:
    """Make any text safe as a field value.

    Printable ASCII stays; everything else, and "%", is percent-encoded as UTF-8.
    """
    if _UNSAFE_IN_VALUE.search(text) is None:
        return text.encode("ascii")
    return _UNSAFE_IN_VALUE.sub(
        lambda found: "".join(
            f"%{byte:02X}" for byte in found.group().encode("utf-8", "surrogatepass")
        ),
        text,
    ).encode("ascii")


def request_lines(headers: RequestHeaders, *, whole: bool) -> list[bytes]:
    """Return the client's own field lines as they are forwarded.

    Args:
        headers: the examined section.
        whole: whether the answer must come whole and uncompressed, because fields of
            it will be decrypted.
    """
    trace = headers.noted.get(b"traceparent")
    if not whole and (trace is None or _TRACEPARENT(trace)):
        return [b"%b: %b\r\n" % (name, value) for _, name, value in headers.kept]
    unwanted = set(_PARTIAL) if whole else set()
    if trace is not None and not _TRACEPARENT(trace):
        unwanted.add(b"traceparent")
    lines = [
        b"%b: %b\r\n" % (name, value)
        for lower, name, value in headers.kept
        if lower not in unwanted
    ]
    if whole:
        lines.append(b"Accept-Encoding: identity\r\n")
    return lines


def request_head(
    method: str, target: str, host: bytes, lines: Iterable[bytes]
) -> bytes:
    """Return the head of the request that the backend gets.

    Args:
        method: upper case.
        target: path and query, ASCII.
        host: the value of Host.
        lines: every other field line with its CRLF.
    """
    start = f"{method} {target} HTTP/1.1\r\nHost: ".encode("ascii")
    return b"".join((start, host, b"\r\n", *lines, b"\r\n"))


def response_lines(raw: RawHeaders) -> list[bytes]:
    """Return the field lines of an answer as they go to the client."""
    named: set[bytes] = set()
    lines = []
    for lower, name, value in raw:
        if lower not in _RESPONSE_DROP:
            lines.append(b"%b: %b\r\n" % (name, value))
        elif lower == b"connection" and value not in _PERSISTENCE:
            named.update(token.strip().lower() for token in value.split(b","))
    if named:
        kept = [field for field in raw if field[0] not in named]
        return [
            b"%b: %b\r\n" % (name, value)
            for lower, name, value in kept
            if lower not in _RESPONSE_DROP
        ]
    return lines


def without_validators(raw: RawHeaders) -> RawHeaders:
    """Drop what a backend says of bytes that were decrypted since.

    Validators and digests no longer hold (RFC 9110 section 7.7).
    """
    return [field for field in raw if field[0] not in _OF_THE_BYTES]


def value_of(raw: RawHeaders, lower: bytes) -> bytes | None:
    """Return the value of the first field with this lower-case name, or None."""
    for field in raw:
        if field[0] == lower:
            return field[2]
    return None


def field_lines(fields: Iterable[tuple[str, str]]) -> list[bytes]:
    """Return (name, value) pairs of our own making as field lines."""
    return [f"{name}: {value}\r\n".encode("latin-1") for name, value in fields]


def is_json(content_type: bytes | None) -> bool:
    """Say whether a Content-Type is JSON in UTF-8 (RFC 8259, RFC 6839 section 3.1)."""
    if content_type is None:
        return False
    if content_type == b"application/json":
        return True
    media_type, *parameters = content_type.lower().split(b";")
    media_type = media_type.strip()
    if media_type != b"application/json" and not (
        media_type.startswith(b"application/") and media_type.endswith(b"+json")
    ):
        return False
    return all(
        parameter.strip() in (b"", b"charset=utf-8", b'charset="utf-8"')
        or not parameter.strip().startswith(b"charset")
        for parameter in parameters
    )
