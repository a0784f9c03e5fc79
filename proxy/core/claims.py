"""The claims of a verified token: which have to be there, and what they mean.

Every one that is read is of its JSON type or the token is refused; time is not looked
at here, for a token is verified once and its times on every request (RFC 7519, 4.1).
"""

import re
from typing import Any, Final

from proxy.core.errors import Refused
from proxy.core.issuer import Issuer
from proxy.core.principal import NEVER, Principal
from proxy.core.reasons import Reason

CHALLENGE: Final = 'Bearer realm="lumina-proxy"'
"""The beginning of every WWW-Authenticate that this proxy sends."""

_MAX_TEXT: Final = 1024
_MAX_INSTANT: Final = 2**53
# C0, DEL, C1, and the halves of surrogate pairs, which no encoding can carry on.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def refused(reason: Reason, detail: str = "") -> Refused:
    """Return a refusal with its challenge (RFC 6750, 3)."""
    challenge = CHALLENGE
    if reason is not Reason.TOKEN_MISSING:
        challenge += f', error="invalid_token", error_description="{reason.title}"'
    return Refused(reason, detail, (("WWW-Authenticate", challenge),))


def principal_of(
    claims: dict[str, Any], issuer: Issuer, *, keep_claims: bool
) -> Principal:
    """Read the claims of a verified token; ``now`` is compared later.

    Args:
        claims: of the token.
        issuer: that it is of, which its ``iss`` has said.
        keep_claims: whether the principal holds all of them.

    Raises:
        Refused: AUDIENCE_MISMATCH or CLAIM_INVALID.
    """
    if not any(one in issuer.audience for one in _strings(claims.get("aud"), "aud")):
        raise refused(Reason.AUDIENCE_MISMATCH)
    for name in issuer.required:
        if claims.get(name) in (None, "", [], {}):
            raise _invalid(name)
    expires_at = _instant(claims, "exp")
    issued_at = _instant(claims, "iat", NEVER)
    if issuer.max_lifetime is not None and expires_at - issued_at > issuer.max_lifetime:
        raise _invalid("exp" if "iat" in claims else "iat")
    subject = _text(claims, "sub")
    if not subject:
        raise _invalid("sub")
    return Principal(
        subject=subject,
        roles=_roles(claims, issuer.roles),
        issuer=issuer.id,
        expires_at=expires_at,
        not_before=max(0.0, _instant(claims, "nbf", 0.0), issued_at),
        leeway=issuer.leeway,
        issued_at=issued_at,
        token_id=_text(claims, "jti"),
        session=_text(claims, "sid"),
        acr=_text(claims, "acr"),
        amr=_strings(claims.get("amr", []), "amr"),
        authenticated_at=_instant(claims, "auth_time", NEVER),
        claims=claims if keep_claims else {},
    )


def _invalid(name: str) -> Refused:
    return refused(Reason.CLAIM_INVALID, f"The claim is {name!r}.")


def _text(claims: dict[str, Any], name: str) -> str:
    """Return a claim that is short text without controls; "" when it is not there."""
    value = claims.get(name, "")
    if not isinstance(value, str) or len(value) > _MAX_TEXT or _CONTROL.search(value):
        raise _invalid(name)
    return value


def _strings(value: object, name: str) -> tuple[str, ...]:
    """Return a string or a list of strings as a tuple."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in values):
        raise _invalid(name)
    return tuple(values)


def _instant(claims: dict[str, Any], name: str, default: float | None = None) -> float:
    """Return a NumericDate in epoch seconds (RFC 7519, 2)."""
    if default is not None and name not in claims:
        return default
    value = claims.get(name)
    # To Python a bool is an int, and an int may be too large for a float.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(name)
    if abs(value) > _MAX_INSTANT:
        raise _invalid(name)
    return float(value)


def _roles(claims: dict[str, Any], path: tuple[str, ...]) -> tuple[str, ...]:
    value: object = claims
    for name in path:
        if not isinstance(value, dict):
            raise _invalid(".".join(path))
        if name not in value:
            return ()
        value = value[name]
    return _strings(value, ".".join(path))
