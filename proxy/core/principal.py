"""Who is asking: what is known of a verified token, without the token."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from proxy.core.headers import header_value

NEVER: Final = float("-inf")
"""An instant before every other: what is not said to have happened."""

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


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
        issued_at: epoch seconds, from ``iat``; NEVER when the token does not say.
        token_id: the ``jti`` claim; "" without one.
        session: the ``sid`` claim; "" without one.
        acr: how strongly the subject was authenticated, as the issuer calls it; "" when
            the token does not say (OpenID Connect Core 2).
        amr: by which means; () when the token does not say (RFC 8176).
        authenticated_at: epoch seconds, from ``auth_time``; NEVER when the token does
            not say.
        claims: everything that the token says; empty where nobody asks for it. Not to
            be changed by anybody.
        subject_value: the subject as a field value, see ``header_value``.
    """

    subject: str
    roles: tuple[str, ...]
    issuer: str
    expires_at: float
    not_before: float = 0.0
    leeway: float = 0.0
    issued_at: float = NEVER
    token_id: str = ""
    session: str = ""
    acr: str = ""
    amr: tuple[str, ...] = ()
    authenticated_at: float = NEVER
    claims: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: _NOTHING, repr=False, compare=False
    )
    subject_value: bytes = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "subject_value", header_value(self.subject))
