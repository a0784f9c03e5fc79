"""Bearer token to Principal: signature first, then claims, and time at ``now``.

Rules of this file:

1. An issuer pins its algorithms, and its keys fit them (RFC 8725 section 3.1). What a
   token says of its own algorithm only has to agree.
2. ``iss``, ``aud``, ``exp`` and ``sub`` are required (RFC 7519 section 4.1). A claim of
   the wrong type is never coerced.
3. A signature is verified once and remembered by the header's bytes, but time is looked
   at on every request: a remembered token expires on time.
4. No error says what the token held.
"""

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from proxy.core.errors import Refused
from proxy.core.jws import Claims, Token, read_token
from proxy.core.reasons import Reason

REALM = "lumina-proxy"

FAMILIES: Mapping[str, frozenset[str]] = {
    "HMAC": frozenset(("HS256", "HS384", "HS512")),
    "RSA": frozenset(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
    "EC": frozenset(("ES256", "ES384", "ES512")),
    "EdDSA": frozenset(("EdDSA",)),
}
"""Kind of key to the algorithms that sign with it (RFC 7518, RFC 8037)."""

_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
_MIN_RSA_BITS = 2048  # RFC 7518 section 3.3
_MAX_SUBJECT = 1024
_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +(\S+) *").fullmatch
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]").search


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """One key of an issuer.

    Attributes:
        kid: the key id that tokens name it by; None fits every token.
        key: the prepared key; never shown.
    """

    kid: str | None
    key: Any = dataclasses.field(repr=False)

    @classmethod
    def load(
        cls, text: str, algorithms: tuple[str, ...], kid: str | None = None
    ) -> "VerificationKey":
        """Prepare a shared secret (HMAC) or a public key in PEM (all others).

        Args:
            text: the secret's UTF-8 text, or the PEM.
            algorithms: what the issuer signs with, all of one family.
            kid: the key id; None for none.

        Raises:
            ValueError: the key does not fit; the message never holds it.
        """
        if FAMILIES["HMAC"].issuperset(algorithms):
            return cls(kid=kid, key=_shared_secret(text, algorithms))
        return cls(kid=kid, key=_public_key(text, algorithms))


def _shared_secret(text: str, algorithms: tuple[str, ...]) -> bytes:
    if "-----BEGIN" in text:
        raise ValueError("a PEM key is no shared secret; was RS256 meant?")
    secret = text.encode()
    least = max(
        hashlib.new(f"sha{name.removeprefix('HS')}").digest_size for name in algorithms
    )
    if len(secret) < least:  # RFC 7518 section 3.2
        raise ValueError(f"the secret has {len(secret)} bytes and needs {least}")
    return secret


def _public_key(text: str, algorithms: tuple[str, ...]) -> Any:
    if "PRIVATE KEY" in text:
        raise ValueError("this is a private key; a verifier needs the public one")
    try:
        key = load_pem_public_key(text.strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("this is no public key in PEM") from None
    names = ", ".join(algorithms)
    if isinstance(key, rsa.RSAPublicKey):
        if not FAMILIES["RSA"].issuperset(algorithms):
            raise ValueError(f"an RSA key does not verify {names}")
        if key.key_size < _MIN_RSA_BITS:
            raise ValueError(f"the RSA key has {key.key_size} bits and needs 2048")
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if [_CURVES.get(name) for name in algorithms] != [key.curve.name]:
            raise ValueError(f"a key on {key.curve.name} does not verify {names}")
    elif not isinstance(
        key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
    ) or not FAMILIES["EdDSA"].issuperset(algorithms):
        raise ValueError(f"a key of this kind does not verify {names}")
    return key


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Whom tokens are trusted from, and what such tokens must say.

    Attributes:
        id: the name in the policy.
        issuer: the exact ``iss`` value.
        audience: the token's ``aud`` must contain one of these; never empty.
        algorithms: pinned; a token's ``alg`` must be one of these, all of one family.
        keys: static keys; never empty.
        roles: the claim that holds the role, as a path of names (``$.realm.role`` is
            ("realm", "role")); its value is a string or a list of strings.
        leeway: seconds of clock skew granted to ``exp``, ``nbf`` and ``iat``.
    """

    id: str
    issuer: str
    audience: tuple[str, ...]
    algorithms: tuple[str, ...]
    keys: tuple[VerificationKey, ...]
    roles: tuple[str, ...]
    leeway: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is asking. Never holds the token.

    Attributes:
        subject: the ``sub`` claim; never empty, no control characters.
        roles: the token's roles in the token's order; may be empty.
        issuer: the issuer's id in the policy.
        expires_at: epoch seconds, from ``exp``.
        not_before: epoch seconds, the later of ``nbf`` and ``iat``; 0.0 without them.
        leeway: seconds, from the issuer.
    """

    subject: str
    roles: tuple[str, ...]
    issuer: str
    expires_at: float
    not_before: float = 0.0
    leeway: float = 0.0


def challenge(error: str = "", description: str = "") -> tuple[str, str]:
    """Return the WWW-Authenticate field of RFC 6750 section 3.

    Args:
        error: the error code; "" where no token was sent, for that is no error.
        description: one ASCII sentence without quotes; "" for none.
    """
    value = f'Bearer realm="{REALM}"'
    if error:
        value += f', error="{error}", error_description="{description}"'
    return "WWW-Authenticate", value


class Authenticator:
    """Verifies tokens and remembers verified ones by their bytes.

    The memory is two generations of half its size: when the young one is full it
    becomes the old one, and what is still used is carried over by its next use. Only
    tokens that verified are remembered, so a flood of bad ones displaces nothing.

    Args:
        issuers: whom to trust, by ``iss``.
        cache_size: how many verified tokens are remembered at most.
    """

    def __init__(
        self, issuers: Mapping[str, Issuer], *, cache_size: int = 100_000
    ) -> None:
        self._issuers = issuers
        self._half = max(1, cache_size // 2)
        self._young: dict[bytes, Principal] = {}
        self._old: dict[bytes, Principal] = {}

    def authenticate(self, authorization: bytes | None, now: float) -> Principal:
        """Return who an Authorization field value speaks for, at ``now``.

        Args:
            authorization: the one value there is; None when there is none.
            now: epoch seconds.

        Raises:
            Refused: the reason, with the challenge of RFC 6750 section 3.
        """
        principal = self._young.get(authorization) if authorization else None
        if principal is None:
            principal = self._verified(authorization)
        if now >= principal.expires_at + principal.leeway:
            raise _refused(Reason.TOKEN_EXPIRED)
        if now < principal.not_before - principal.leeway:
            raise _refused(Reason.TOKEN_NOT_YET_VALID)
        return principal

    def _verified(self, authorization: bytes | None) -> Principal:
        found = _BEARER(authorization) if authorization else None
        if found is None or authorization is None:
            raise Refused(Reason.TOKEN_MISSING, headers=(challenge(),))
        principal = self._old.get(authorization)
        if principal is None:
            try:
                principal = self._verify(read_token(found[1]))
            except Refused as refused:
                raise _refused(refused.reason) from None
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[authorization] = principal
        return principal

    def _verify(self, token: Token) -> Principal:
        name = token.claims.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise Refused(Reason.ISSUER_NOT_TRUSTED)
        if token.algorithm not in issuer.algorithms:
            raise Refused(Reason.ALGORITHM_NOT_ALLOWED)
        keys = [
            one.key
            for one in issuer.keys
            if one.kid is None or token.key_id is None or one.kid == token.key_id
        ]
        if not keys:
            raise Refused(Reason.KEY_UNKNOWN)
        algorithm = jwt.get_algorithm_by_name(token.algorithm)
        if not any(_signed_by(algorithm, token, key) for key in keys):
            raise Refused(Reason.SIGNATURE_INVALID)
        return _principal(token.claims, issuer)


def _refused(reason: Reason) -> Refused:
    return Refused(reason, headers=(challenge("invalid_token", reason.title),))


def _signed_by(algorithm: jwt.algorithms.Algorithm, token: Token, key: Any) -> bool:
    try:
        return bool(algorithm.verify(token.signed, key, token.signature))
    except (ValueError, jwt.PyJWTError):
        # A signature that cannot even be read, such as an ECDSA one of odd length.
        return False


def _principal(claims: Claims, issuer: Issuer) -> Principal:
    audience = claims.get("aud")
    if isinstance(audience, str):
        audience = [audience]
    if not _is_texts(audience):
        raise Refused(Reason.CLAIM_INVALID)
    if not set(issuer.audience).intersection(audience):
        raise Refused(Reason.AUDIENCE_MISMATCH)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT:
        raise Refused(Reason.CLAIM_INVALID)
    if _CONTROL(subject):
        raise Refused(Reason.CLAIM_INVALID)
    expires_at = _instant(claims, "exp")
    if expires_at is None:
        raise Refused(Reason.CLAIM_INVALID)
    not_before = max(_instant(claims, "nbf") or 0.0, _instant(claims, "iat") or 0.0)
    return Principal(
        subject=subject,
        roles=_roles(claims, issuer.roles),
        issuer=issuer.id,
        expires_at=expires_at,
        not_before=not_before,
        leeway=issuer.leeway,
    )


def _instant(claims: Claims, name: str) -> float | None:
    """Return a NumericDate claim in epoch seconds; None when it is absent."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(Reason.CLAIM_INVALID)
    try:
        return float(value)
    except OverflowError:
        raise Refused(Reason.CLAIM_INVALID) from None


def _roles(claims: Claims, path: tuple[str, ...]) -> tuple[str, ...]:
    value: Any = claims
    for name in path:
        if not isinstance(value, dict):
            raise Refused(Reason.CLAIM_INVALID)
        if name not in value:
            return ()
        value = value[name]
    if isinstance(value, str):
        return (value,)
    if not _is_texts(value):
        raise Refused(Reason.CLAIM_INVALID)
    return tuple(value)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
