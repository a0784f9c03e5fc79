"""Bearer token to Principal (RFC 6750, 7519, 8725).

Rules of this file:

1. The issuer decides which algorithms and keys count; the token only says which issuer
   and which of its keys it means.
2. The signature comes first, then the claims, then the time.
3. A verified token is remembered by the bytes of its field value, so most requests cost
   a look-up. Time is compared on every request, remembered or not.
4. Nothing of a token reaches an exception: not the one that is raised, nor those it was
   raised from.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Final

from proxy.core import jws
from proxy.core.errors import Refused
from proxy.core.headers import header_value
from proxy.core.jws import FAMILIES
from proxy.core.reasons import Reason

__all__ = [
    "CHALLENGE",
    "FAMILIES",
    "Authenticator",
    "Issuer",
    "Principal",
    "VerificationKey",
]

CHALLENGE: Final = 'Bearer realm="lumina-proxy"'
"""The beginning of every WWW-Authenticate that this proxy sends."""

_SCHEME: Final = b"bearer"
_MAX_SUBJECT: Final = 1024
_MAX_INSTANT: Final = 2**53
# C0, DEL, C1, and the halves of surrogate pairs, which no encoding can carry on.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """One key of an issuer; ``kid`` None matches tokens without ``kid`` and any kid."""

    kid: str | None
    key: Any = dataclasses.field(repr=False)

    @classmethod
    def load(
        cls, text: str, algorithms: tuple[str, ...], kid: str | None = None
    ) -> "VerificationKey":
        """Prepare a shared secret or PEM public key; ValueError says what is wrong.

        Args:
            text: the secret itself, at least as long as the hash; or a PEM public key.
            algorithms: those of the issuer.
            kid: the only ``kid`` the key answers to, or None for any.
        """
        return cls(kid=kid, key=jws.load_key(text, algorithms))


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
        not_before: epoch seconds, the later of ``nbf`` and ``iat``; 0.0 when the token
            has neither.
        leeway: seconds, from the issuer.
        claims: everything that the token says; empty where nobody asks for it.
        subject_value: the subject as a field value, see ``header_value``.
    """

    subject: str
    roles: tuple[str, ...]
    issuer: str
    expires_at: float
    not_before: float = 0.0
    leeway: float = 0.0
    claims: Mapping[str, Any] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )
    subject_value: bytes = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "subject_value", header_value(self.subject))


class Authenticator:
    """Verifies tokens and remembers verified ones by their bytes.

    Memory is bounded by two generations: when the young one is full it becomes the old
    one, and the old one is forgotten but for what was asked for since.

    Args:
        issuers: whom to trust; their ``issuer`` values decide, not the mapping's keys.
        cache_size: the most tokens to remember, at least two.
        keep_claims: whether a principal has its token's claims; they take memory.
    """

    def __init__(
        self,
        issuers: Mapping[str, Issuer],
        *,
        cache_size: int = 100_000,
        keep_claims: bool = True,
    ) -> None:
        self._keep_claims = keep_claims
        self._issuers = {issuer.issuer: issuer for issuer in issuers.values()}
        self._generation_size = max(1, cache_size // 2)
        # Field value -> first valid instant, first invalid instant, principal.
        self._young: dict[bytes, tuple[float, float, Principal]] = {}
        self._old: dict[bytes, tuple[float, float, Principal]] = {}

    def authenticate(self, authorization: bytes | None, now: float) -> Principal:
        """Return who an Authorization field value speaks for, at ``now``.

        Args:
            authorization: the only value of the field, without outer white space; None
                when the request has none.
            now: epoch seconds.

        Raises:
            Refused: a TOKEN_* or related reason, with an RFC 6750 WWW-Authenticate.
        """
        if authorization is None:
            raise _refused(Reason.TOKEN_MISSING)
        known = self._young.get(authorization)
        if known is None:
            known = self._old.pop(authorization, None) or self._verify(authorization)
            self._remember(authorization, known)
        valid_from, valid_until, principal = known
        if valid_from <= now < valid_until:
            return principal
        if now < valid_until:
            raise _refused(Reason.TOKEN_NOT_YET_VALID)
        del self._young[authorization]
        raise _refused(Reason.TOKEN_EXPIRED)

    def _remember(
        self, authorization: bytes, known: tuple[float, float, Principal]
    ) -> None:
        if len(self._young) >= self._generation_size:
            self._old, self._young = self._young, {}
        self._young[authorization] = known

    def _verify(self, authorization: bytes) -> tuple[float, float, Principal]:
        try:
            token = jws.parse(_bearer_token(authorization))
        except jws.MalformedError as error:
            raise _refused(Reason.TOKEN_MALFORMED, str(error)) from None
        issuer = self._issuer(token.payload.get("iss"))
        _check_signature(token, issuer)
        principal = _principal(token.payload, issuer, keep=self._keep_claims)
        leeway = principal.leeway
        return principal.not_before - leeway, principal.expires_at + leeway, principal

    def _issuer(self, name: object) -> Issuer:
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise _refused(Reason.ISSUER_NOT_TRUSTED)
        return issuer


def _refused(reason: Reason, detail: str = "") -> Refused:
    """Return a refusal with its challenge (RFC 6750, 3)."""
    challenge = CHALLENGE
    if reason is not Reason.TOKEN_MISSING:
        challenge += f', error="invalid_token", error_description="{reason.title}"'
    return Refused(reason, detail, (("WWW-Authenticate", challenge),))


def _bearer_token(authorization: bytes) -> bytes:
    """Return the token of ``Bearer 1*SP token`` (RFC 6750, 2.1)."""
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != _SCHEME:
        raise _refused(
            Reason.TOKEN_MISSING, "The scheme of Authorization is not Bearer."
        )
    # Measured with its spaces, for the whole value is what will be remembered.
    if len(token) > jws.MAX_TOKEN_BYTES:
        raise jws.MalformedError(
            f"The token is longer than {jws.MAX_TOKEN_BYTES} bytes."
        )
    return token.lstrip(b" ")


def _check_signature(token: jws.Jws, issuer: Issuer) -> None:
    if token.algorithm not in issuer.algorithms:
        raise _refused(Reason.ALGORITHM_NOT_ALLOWED)
    keys = issuer.keys
    if token.kid is not None:
        named = tuple(key for key in keys if key.kid == token.kid)
        keys = named or tuple(key for key in keys if key.kid is None)
    if not keys:
        raise _refused(Reason.KEY_UNKNOWN)
    if not any(jws.verify(token, key.key) for key in keys):
        raise _refused(Reason.SIGNATURE_INVALID)


def _principal(claims: dict[str, Any], issuer: Issuer, *, keep: bool) -> Principal:
    """Read the claims of a verified token; ``now`` is compared later."""
    audience = claims.get("aud")
    if not any(one in issuer.audience for one in _strings(audience, "aud")):
        raise _refused(Reason.AUDIENCE_MISMATCH)
    expires_at = _instant(claims, "exp")
    not_before = [_instant(claims, name) for name in ("nbf", "iat") if name in claims]
    subject = claims.get("sub")
    if (
        not isinstance(subject, str)
        or not 0 < len(subject) <= _MAX_SUBJECT
        or _CONTROL.search(subject)
    ):
        raise _claim_invalid("sub")
    return Principal(
        subject=subject,
        roles=_roles(claims, issuer.roles),
        issuer=issuer.id,
        expires_at=expires_at,
        not_before=max(not_before, default=0.0),
        leeway=issuer.leeway,
        claims=claims if keep else {},
    )


def _claim_invalid(name: str) -> Refused:
    return _refused(Reason.CLAIM_INVALID, f"The claim is {name!r}.")


def _strings(value: object, name: str) -> tuple[str, ...]:
    """Return a string or a list of strings as a tuple."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in values):
        raise _claim_invalid(name)
    return tuple(values)


def _instant(claims: dict[str, Any], name: str) -> float:
    """Return a NumericDate in epoch seconds (RFC 7519, 2)."""
    value = claims.get(name)
    # To Python a bool is an int, and an int may be too large for a float.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _claim_invalid(name)
    if abs(value) > _MAX_INSTANT:
        raise _claim_invalid(name)
    return float(value)


def _roles(claims: dict[str, Any], path: tuple[str, ...]) -> tuple[str, ...]:
    value: object = claims
    for name in path:
        if not isinstance(value, dict):
            raise _claim_invalid(".".join(path))
        if name not in value:
            return ()
        value = value[name]
    return _strings(value, ".".join(path))
