"""Signed tokens in compact form, read strictly (RFC 7515 section 7.1, RFC 8725).

What two readers could take for two things is refused: padding or stray bits in
base64url, JSON with a member twice, numbers that are none, text that is not UTF-8.
Whether the signature is right is a question of its own: ``authn`` asks it.
"""

import base64
import binascii
import dataclasses
import json
import re
from typing import Any, NoReturn

from proxy.core.errors import Refused
from proxy.core.reasons import Reason

MAX_BYTES = 8 * 1024
"""The longest token that is read; header sections end there in most servers."""

_COMPACT = re.compile(
    rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)"
).fullmatch
_TYPES = frozenset(("jwt", "at+jwt", "application/jwt", "application/at+jwt"))

Claims = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
    """A token whose signature nobody has looked at yet.

    Attributes:
        algorithm: the header's ``alg``.
        key_id: the header's ``kid``; None when it has none.
        claims: the payload.
        signed: the bytes that the signature is over.
        signature: the signature.
    """

    algorithm: str
    key_id: str | None
    claims: Claims = dataclasses.field(repr=False)
    signed: bytes = dataclasses.field(repr=False)
    signature: bytes = dataclasses.field(repr=False)


def malformed() -> Refused:
    """Return the one refusal of whatever is no token."""
    return Refused(Reason.TOKEN_MALFORMED)


def read_token(text: bytes) -> Token:
    """Read a token without believing it.

    Raises:
        Refused: TOKEN_MALFORMED.
    """
    found = _COMPACT(text) if len(text) <= MAX_BYTES else None
    if found is None:
        raise malformed()
    header = _json_object(_bytes_of(found[1]))
    algorithm, key_id, kind = header.get("alg"), header.get("kid"), header.get("typ")
    if not isinstance(algorithm, str):
        raise malformed()
    if "crit" in header or "b64" in header:  # RFC 7515 4.1.11: none is understood
        raise malformed()
    if key_id is not None and not isinstance(key_id, str):
        raise malformed()
    if kind is not None and not (isinstance(kind, str) and kind.lower() in _TYPES):
        raise malformed()  # RFC 8725 section 3.11
    return Token(
        algorithm,
        key_id,
        _json_object(_bytes_of(found[2])),
        text[: found.end(2)],
        _bytes_of(found[3]),
    )


def _bytes_of(segment: bytes) -> bytes:
    try:
        decoded = base64.b64decode(
            segment + b"=" * (-len(segment) % 4), altchars=b"-_", validate=True
        )
    except binascii.Error:
        raise malformed() from None
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != segment:
        raise malformed()  # stray bits behind the last byte
    return decoded


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise malformed()
    return document


def _no_constant(_: str) -> NoReturn:
    raise malformed()


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise malformed()
    return number


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_once,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except (ValueError, RecursionError):
        # The error is dropped: it would carry the token's content.
        raise malformed() from None
    if not isinstance(document, dict):
        raise malformed()
    return document
