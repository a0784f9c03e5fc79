"""Claims are of the type that their specification says, or the token is refused.

What is refused is a row of the attack table in ``test_authn`` each; here is the rest.
"""

from typing import Any

import pytest

from proxy.core.claims import principal_of, refused
from proxy.core.errors import Refused
from proxy.core.issuer import Issuer
from proxy.core.principal import NEVER, Principal
from proxy.core.reasons import Reason

ISSUER = Issuer(
    id="id",
    issuer="https://id.example",
    audience=("lms",),
    algorithms=("RS256",),
    keys=(),
    roles=("realm", "roles"),
    max_lifetime=100.0,
    required=("jti",),
)
CLAIMS: dict[str, Any] = {
    "aud": ["shop", "lms"],
    "sub": "ada",
    "iat": 900,
    "exp": 1000,
    "jti": "1",
    "realm": {"roles": ["a", "b"]},
}


def read(claims: dict[str, Any]) -> Principal:
    """Return who the claims are of."""
    return principal_of(claims, ISSUER, keep_claims=False)


def test_every_claim_is_read() -> None:
    """What the token says is what is known."""
    more = {"sid": "s", "acr": "mfa", "amr": ["pwd"], "auth_time": 5, "nbf": 950}
    expected = Principal(
        subject="ada",
        roles=("a", "b"),
        issuer="id",
        expires_at=1000.0,
        not_before=950.0,
        issued_at=900.0,
        token_id="1",
        session="s",
        acr="mfa",
        amr=("pwd",),
        authenticated_at=5.0,
    )

    assert expected == read(CLAIMS | more)


def test_a_token_may_say_little() -> None:
    """What is neither usual nor required may be missing; roles, too."""
    found = read({name: CLAIMS[name] for name in ("aud", "sub", "iat", "exp", "jti")})

    assert (found.roles, found.session, found.authenticated_at) == ((), "", NEVER)


@pytest.mark.parametrize(
    ("claims", "claim"),
    [
        pytest.param({"aud": None}, "aud", id="audience"),
        pytest.param({"aud": "shop"}, None, id="another audience"),
        pytest.param({"jti": ""}, "jti", id="required"),
        pytest.param({"exp": 1001}, "exp", id="lifetime"),
        pytest.param({"exp": 2**53 + 1, "iat": 2**53}, "exp", id="beyond exact"),
        pytest.param({"exp": "1000"}, "exp", id="string"),
        pytest.param({"sub": ""}, "sub", id="nobody"),
        pytest.param({"sub": 1}, "sub", id="number"),
        pytest.param({"realm": "roles"}, "realm.roles", id="no mapping"),
        pytest.param({"realm": {"roles": [1]}}, "realm.roles", id="no strings"),
    ],
)
def test_claims_that_do_not_fit_are_named(
    claims: dict[str, Any], claim: str | None
) -> None:
    """The refusal says which claim, and never what it says."""
    with pytest.raises(Refused) as caught:
        read(CLAIMS | claims)

    assert caught.value.detail == (f"The claim is {claim!r}." if claim else "")


def test_a_lifetime_needs_a_beginning() -> None:
    """Where lifetimes are bounded, a token has to say when it began."""
    with pytest.raises(Refused, match="'iat'"):
        read({name: value for name, value in CLAIMS.items() if name != "iat"})


def test_claims_are_kept_when_told() -> None:
    """They are the token's own, all of them."""
    assert principal_of(CLAIMS, ISSUER, keep_claims=True).claims is CLAIMS
    assert read(CLAIMS).claims == {}


def test_a_refusal_challenges() -> None:
    """Without a token there is nothing wrong with it (RFC 6750, 3)."""
    missing, expired = refused(Reason.TOKEN_MISSING), refused(Reason.TOKEN_EXPIRED)

    assert missing.headers == (("WWW-Authenticate", 'Bearer realm="lumina-proxy"'),)
    assert 'error="invalid_token"' in expired.headers[0][1]
