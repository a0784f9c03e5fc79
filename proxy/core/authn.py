"""Bearer token to Principal (RFC 6750, 7519, 8725).

Rules of this file:

1. The issuer decides which algorithms and keys count; the token only says which issuer
   and which of its keys it means.
2. The signature comes first, then the claims, then the time.
3. A verified token is remembered by the bytes of its field value, so most requests cost
   a look-up. Time is compared on every request, remembered or not, and so is whether
   anything was revoked since.
4. Nothing of a token reaches an exception: not the one that is raised, nor those it was
   raised from.
5. What only the issuer can tell is not guessed: ``Unsettled`` is raised, and whoever
   can wait asks and tries again.
"""

from collections.abc import Mapping
from typing import Final

from proxy.core import jws
from proxy.core.claims import CHALLENGE, principal_of, refused
from proxy.core.errors import Refused
from proxy.core.issuer import TYPES, Issuer, VerificationKey
from proxy.core.jws import FAMILIES
from proxy.core.principal import Principal
from proxy.core.reasons import Reason
from proxy.core.revocations import Revocations

__all__ = [
    "CHALLENGE",
    "FAMILIES",
    "Authenticator",
    "Issuer",
    "IssuerKeys",
    "Principal",
    "Trusted",
    "Unsettled",
    "VerificationKey",
]

MAX_REMEMBERED_BYTES: Final = 64 * 1024 * 1024
"""Of remembered tokens, all together: their number alone is no bound for memory."""

_SCHEME: Final = b"bearer"


class Unsettled(Refused):
    """Refused as far as is known here; the issuer may know better.

    Attributes:
        issuer: whose keys may have changed since they were fetched.
        kid: of the key that is wanted; None when the token names none.
    """

    def __init__(self, refusal: Refused, issuer: Issuer, kid: str | None) -> None:
        super().__init__(refusal.reason, refusal.detail, refusal.headers)
        self.issuer = issuer
        self.kid = kid


class IssuerKeys:
    """The keys in force of issuers whose keys are fetched; an edge keeps it current.

    Attributes:
        withdrawn: another number whenever a key is no longer good.
    """

    def __init__(self) -> None:
        self.withdrawn = 0
        self._keys: dict[str, tuple[VerificationKey, ...]] = {}

    def of(self, issuer: str) -> tuple[VerificationKey, ...] | None:
        """Return the keys of an ``iss``; None when none are known to be good."""
        return self._keys.get(issuer)

    def put(self, issuer: str, keys: tuple[VerificationKey, ...]) -> None:
        """Put keys in force in place of those before."""
        before = self._keys.get(issuer, ())
        self._keys[issuer] = keys
        if any(_stands_alone(key, keys) for key in before):
            self.withdrawn += 1

    def drop(self, issuer: str) -> None:
        """Trust no key of an issuer until there are others."""
        if self._keys.pop(issuer, None) is not None:
            self.withdrawn += 1


def _stands_alone(key: VerificationKey, keys: tuple[VerificationKey, ...]) -> bool:
    """Say whether ``key`` is not among ``keys``; public keys compare by value."""
    return not any(key == other for other in keys)


class Trusted:
    """What is known of issuers beside the policy; edges keep it current.

    It outlives policies: a reload forgets neither keys nor revocations.

    Attributes:
        keys: the keys of issuers whose keys are fetched.
        revocations: tokens that are good no longer.
    """

    def __init__(self) -> None:
        self.keys = IssuerKeys()
        self.revocations = Revocations()


_Known = tuple[float, float, Principal, int]
"""First valid instant, first invalid instant, who, and the version of revocations."""


class Authenticator:
    """Verifies tokens and remembers verified ones by their bytes.

    Memory is bounded by two generations: when the young one is full it becomes the old
    one, and the old one is forgotten but for what was asked for since. What does not
    verify is never remembered, so nobody displaces a good token with bad ones.

    Args:
        issuers: whom to trust; their ``issuer`` values decide, not the mapping's keys.
        trusted: what is known beside them.
        cache_size: the most tokens to remember, at least two.
        cache_bytes: the most bytes of tokens to remember.
        keep_claims: whether principals hold every claim, for conditions to ask.
    """

    def __init__(
        self,
        issuers: Mapping[str, Issuer],
        *,
        trusted: Trusted | None = None,
        cache_size: int = 100_000,
        cache_bytes: int = MAX_REMEMBERED_BYTES,
        keep_claims: bool = True,
    ) -> None:
        self._issuers = {issuer.issuer: issuer for issuer in issuers.values()}
        self._names = {issuer.id: name for name, issuer in self._issuers.items()}
        trusted = trusted or Trusted()
        self._issuer_keys = trusted.keys
        self._withdrawn = self._issuer_keys.withdrawn
        self._revocations = trusted.revocations
        self._keep_claims = keep_claims
        self._generation_size = max(1, cache_size // 2)
        self._generation_bytes = max(1, cache_bytes // 2)
        self._young: dict[bytes, _Known] = {}
        self._young_bytes = 0
        self._old: dict[bytes, _Known] = {}

    def authenticate(self, authorization: bytes | None, now: float) -> Principal:
        """Return who an Authorization field value speaks for, at ``now``.

        Args:
            authorization: the only value of the field, without outer white space; None
                when the request has none.
            now: epoch seconds.

        Raises:
            Unsettled: a key is wanted that may have been published since.
            Refused: a TOKEN_* or related reason, with an RFC 6750 WWW-Authenticate.
        """
        if authorization is None:
            raise refused(Reason.TOKEN_MISSING)
        if self._withdrawn != self._issuer_keys.withdrawn:
            self._forget()
        known = self._young.get(authorization)
        if known is None:
            known = self._old.pop(authorization, None) or self._verify(authorization)
            self._remember(authorization, known)
        valid_from, valid_until, principal, looked = known
        if looked != self._revocations.version:
            self._check_revocation(authorization, known)
        if valid_from <= now < valid_until:
            return principal
        if now < valid_until:
            raise refused(Reason.TOKEN_NOT_YET_VALID)
        del self._young[authorization]
        raise refused(Reason.TOKEN_EXPIRED)

    def _check_revocation(self, authorization: bytes, known: _Known) -> None:
        """Note that a token is good as things are, or forget and refuse it."""
        principal, version = known[2], self._revocations.version
        if self._revocations.covers(principal, self._names[principal.issuer]):
            del self._young[authorization]
            raise refused(Reason.TOKEN_REVOKED)
        self._young[authorization] = (*known[:3], version)

    def _forget(self) -> None:
        """Remember nothing: what was verified may be so by a key that is gone."""
        self._withdrawn = self._issuer_keys.withdrawn
        self._young, self._young_bytes, self._old = {}, 0, {}

    def _remember(self, authorization: bytes, known: _Known) -> None:
        if (
            len(self._young) >= self._generation_size
            or self._young_bytes >= self._generation_bytes
        ):
            self._old, self._young, self._young_bytes = self._young, {}, 0
        self._young[authorization] = known
        self._young_bytes += len(authorization)

    def _verify(self, authorization: bytes) -> _Known:
        try:
            token = jws.parse(_bearer_token(authorization))
        except jws.MalformedError as error:
            raise refused(Reason.TOKEN_MALFORMED, str(error)) from None
        issuer = self._issuer(token.payload.get("iss"))
        _check_type(token, issuer)
        self._check_signature(token, issuer)
        principal = principal_of(token.payload, issuer, keep_claims=self._keep_claims)
        leeway = principal.leeway
        # A version that never was: nobody has looked yet.
        return (
            principal.not_before - leeway,
            principal.expires_at + leeway,
            principal,
            -1,
        )

    def _issuer(self, name: object) -> Issuer:
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise refused(Reason.ISSUER_NOT_TRUSTED)
        return issuer

    def _check_signature(self, token: jws.Jws, issuer: Issuer) -> None:
        if token.algorithm not in issuer.algorithms:
            raise refused(Reason.ALGORITHM_NOT_ALLOWED)
        keys: tuple[VerificationKey, ...] | None = issuer.keys
        if issuer.remote is not None:
            keys = self._issuer_keys.of(issuer.issuer)
        refusal = _signature_refusal(token, keys)
        if refusal is None:
            return
        if issuer.remote is not None and (
            refusal.reason is not Reason.SIGNATURE_INVALID or token.kid is None
        ):
            raise Unsettled(refusal, issuer, token.kid)
        raise refusal


def _bearer_token(authorization: bytes) -> bytes:
    """Return the token of ``Bearer 1*SP token`` (RFC 6750, 2.1)."""
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != _SCHEME:
        raise refused(
            Reason.TOKEN_MISSING, "The scheme of Authorization is not Bearer."
        )
    # Measured with its spaces, for the whole value is what will be remembered.
    if len(token) > jws.MAX_TOKEN_BYTES:
        raise jws.MalformedError(
            f"The token is longer than {jws.MAX_TOKEN_BYTES} bytes."
        )
    return token.lstrip(b" ")


def _check_type(token: jws.Jws, issuer: Issuer) -> None:
    """Refuse a token for another purpose, such as logging out (RFC 8725, 3.11)."""
    if issuer.types is None:
        if token.kind and token.kind not in TYPES:
            raise refused(
                Reason.TOKEN_MALFORMED, "The token's type is neither JWT nor at+jwt."
            )
    elif token.kind not in issuer.types:
        raise refused(
            Reason.TOKEN_MALFORMED, "The token's type is not one of its issuer's."
        )


def _signature_refusal(
    token: jws.Jws, keys: tuple[VerificationKey, ...] | None
) -> Refused | None:
    """Return why no key verifies a token; None when one does."""
    if keys is None:
        return refused(Reason.ISSUER_UNAVAILABLE)
    if token.kid is not None:
        named = tuple(key for key in keys if key.kid == token.kid)
        keys = named or tuple(key for key in keys if key.kid is None)
    if not keys:
        return refused(Reason.KEY_UNKNOWN)
    if not any(key.verifies(token) for key in keys):
        return refused(Reason.SIGNATURE_INVALID)
    return None
