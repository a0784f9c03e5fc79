"""Bearer token to Principal. (Interface; the owner fills in the bodies.)"""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """One key of an issuer; ``kid`` None matches tokens without ``kid`` and any kid."""

    kid: str | None
    key: Any = dataclasses.field(repr=False)

    @classmethod
    def load(
        cls, text: str, algorithms: tuple[str, ...], kid: str | None = None
    ) -> "VerificationKey":
        """Prepare a shared secret or PEM public key; ValueError says what is wrong."""
        raise NotImplementedError


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
        not_before: epoch seconds, from ``nbf``; 0.0 when the token has none.
        leeway: seconds, from the issuer.
    """

    subject: str
    roles: tuple[str, ...]
    issuer: str
    expires_at: float
    not_before: float = 0.0
    leeway: float = 0.0


class Authenticator:
    """Verifies tokens and remembers verified ones by their bytes."""

    def __init__(
        self, issuers: Mapping[str, Issuer], *, cache_size: int = 100_000
    ) -> None:
        raise NotImplementedError

    def authenticate(self, authorization: bytes | None, now: float) -> Principal:
        """Return who an Authorization field value speaks for, at ``now``.

        Raises:
            Refused: a TOKEN_* or related reason, with an RFC 6750 WWW-Authenticate.
        """
        raise NotImplementedError
