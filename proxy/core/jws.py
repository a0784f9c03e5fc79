"""Compact JSON Web Signatures: take one apart strictly, and check its signature.

Strict means that a token has one reading: canonical base64url, UTF-8, JSON without
duplicate names or numbers beyond the finite (RFC 7515, 5.2; RFC 8725).
The cryptography is pyjwt's and cryptography's; what is decided here is which key may
serve which algorithm.

What must not live here: claims, issuers, time. No error of this file quotes the token,
and none is raised while one that does is being handled.
"""

import base64
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

MAX_TOKEN_BYTES = 8192

FAMILIES: Mapping[str, frozenset[str]] = {
    "HMAC": frozenset(("HS256", "HS384", "HS512")),
    "RSA": frozenset(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
    "EC": frozenset(("ES256", "ES384", "ES512")),
    "EdDSA": frozenset(("EdDSA",)),
}
"""Kind of key to the algorithms that use it (RFC 7518, RFC 8037), without ``none``."""

_FAMILY_OF = {name: family for family, names in FAMILIES.items() for name in names}
_ALGORITHMS = {name: jwt.get_algorithm_by_name(name) for name in _FAMILY_OF}
_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
_RSA_BITS = 2048


class MalformedError(ValueError):
    """The bytes are not one compact JWS with JSON in it; says why in a sentence."""


class Jws(NamedTuple):
    """A token taken apart, not verified.

    Attributes:
        algorithm: the ``alg`` of its header; any string.
        kid: the ``kid`` of its header, or None without one.
        kind: the ``typ`` of its header in lower case, without "application/"; "" for
            none.
        payload: its claims, to be believed only after ``verify``.
        signed: the bytes that the signature is over.
        signature: the raw signature.
    """

    algorithm: str
    kid: str | None
    kind: str
    payload: dict[str, Any]
    signed: bytes
    signature: bytes

    def __repr__(self) -> str:
        return "<Jws>"  # the fields of a tuple would be the token


def parse(token: bytes) -> Jws:
    """Take a token of the compact serialisation apart (RFC 7515, 7.1).

    Header members that bring or point to a key (``jwk``, ``jku``, ``x5c``, ``x5u``)
    are not looked at: a token does not say what verifies it.

    Raises:
        MalformedError: when it has no reading, or more than one.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise MalformedError(f"The token is longer than {MAX_TOKEN_BYTES} bytes.")
    parts = token.split(b".")
    if len(parts) != 3 or not all(parts):  # noqa: PLR2004 - RFC 7515, 3.1
        raise MalformedError("The token is not three segments with dots between them.")
    head, body, signature = (_base64url(part) for part in parts)
    if not (head and body and signature):
        raise MalformedError("A segment of the token is not canonical base64url.")
    header, payload = _json(head), _json(body)
    if not isinstance(header, dict) or not isinstance(payload, dict):
        raise MalformedError(
            "The token's header or payload is not a strict JSON object."
        )
    algorithm, kid, kind = _header(header)
    return Jws(algorithm, kid, kind, payload, token[: token.rindex(b".")], signature)


def _header(header: dict[str, Any]) -> tuple[str, str | None, str]:
    """Return ``alg``, ``kid`` and ``typ`` of a header that asks for nothing unknown."""
    if "crit" in header or "b64" in header:
        # RFC 7515, 4.1.11: an extension that must be understood, and is not.
        raise MalformedError("The token's header asks for an extension.")
    kind = header.get("typ", "")
    if not isinstance(kind, str) or ("typ" in header and not kind):
        raise MalformedError("The token's type is not a word.")
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str):
        raise MalformedError("The token's header names no algorithm.")
    if "kid" in header and not isinstance(kid, str):
        raise MalformedError("The token's key id is not a string.")
    # RFC 7515, 4.1.9: "application/" may be left out, case does not matter.
    return algorithm, kid, kind.lower().removeprefix("application/")


def _base64url(segment: bytes) -> bytes:
    """Decode; nothing unless ``segment`` is the one encoding of its value."""
    try:
        decoded = base64.urlsafe_b64decode(segment + b"==")
    except ValueError:
        return b""
    canonical = base64.urlsafe_b64encode(decoded).rstrip(b"=") == segment
    return decoded if canonical else b""


def _json(data: bytes) -> Any:
    """Decode, or return None for what is not strict JSON in UTF-8."""
    try:
        return json.loads(
            data.decode(),
            object_pairs_hook=_unique,
            parse_float=_finite,
            parse_constant=_finite,
        )
    except (ValueError, RecursionError):
        return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate name")
    return members


def _finite(text: str) -> float:
    """Read a number, or what Python's reader takes for one, such as ``NaN``."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def verify(token: Jws, key: object) -> bool:
    """Say whether ``key`` (of ``load_key``) signed ``token``.

    The caller has already compared the token's algorithm with the pinned ones. A key of
    another kind or curve than the algorithm's did not sign, and nothing signs ``none``.
    """
    if not _fits(key, token.algorithm):
        return False
    return _ALGORITHMS[token.algorithm].verify(token.signed, key, token.signature)


def _fits(key: object, algorithm: str) -> bool:
    match _FAMILY_OF.get(algorithm):
        case "HMAC":
            return isinstance(key, bytes)
        case "RSA":
            return isinstance(key, RSAPublicKey)
        case "EC":
            curve = key.curve.name if isinstance(key, EllipticCurvePublicKey) else ""
            return curve == _CURVES[algorithm]
        case "EdDSA":
            return isinstance(key, Ed25519PublicKey | Ed448PublicKey)
        case _:
            return False


def load_key(text: str, algorithms: tuple[str, ...]) -> object:
    """Prepare a shared secret or a PEM public key for ``verify``.

    Args:
        text: the secret itself, or PEM.
        algorithms: what the key will serve; all of one family, at least one fitting.

    Raises:
        ValueError: a sentence that says what is wrong and never quotes ``text``.
    """
    families = {_FAMILY_OF.get(algorithm) for algorithm in algorithms}
    if None in families or len(families) != 1:
        raise ValueError("a key serves known algorithms of exactly one family")
    material = text.encode(errors="ignore")
    if material.decode() != text:  # An error of ``encode`` would quote the secret.
        raise ValueError("the key is not text that UTF-8 can encode")
    load = _secret if families == {"HMAC"} else _public_key
    return load(material, algorithms)


def _secret(secret: bytes, algorithms: tuple[str, ...]) -> bytes:
    least = max(_SECRET_BYTES[algorithm] for algorithm in algorithms)
    if len(secret) < least:  # RFC 7518, 3.2
        raise ValueError(f"the secret has {len(secret)} bytes and needs {least}")
    try:
        _ALGORITHMS[algorithms[0]].prepare_key(secret)
    except jwt.InvalidKeyError:
        secret = b""
    if not secret:
        # Were it accepted, whoever knows the public key could sign (RFC 8725, 2.1).
        raise ValueError("the secret is a public or private key; HMAC needs a secret")
    return secret


def _public_key(pem: bytes, algorithms: tuple[str, ...]) -> object:
    if b"PRIVATE KEY-----" in pem:
        raise ValueError(
            "this is a private key, which verifying does not need: give the public key "
            "(openssl pkey -pubout)"
        )
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if key is None:
        raise ValueError("this is no public key in PEM")
    check_key(key, algorithms)
    return key


def check_key(key: object, algorithms: tuple[str, ...]) -> None:
    """Make sure that a public key serves one of ``algorithms``, and is strong enough.

    Raises:
        ValueError: a sentence that says why it does not.
    """
    if not any(_fits(key, algorithm) for algorithm in algorithms):
        raise ValueError(
            f"this kind of key or curve does not fit {', '.join(algorithms)}"
        )
    if isinstance(key, RSAPublicKey) and key.key_size < _RSA_BITS:
        raise ValueError(f"the RSA key has {key.key_size} bits; {_RSA_BITS} are needed")
