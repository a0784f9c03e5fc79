"""The OpenID provider of the tests does what the tests that use it rely on."""

import base64
import hashlib
import http.cookiejar
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from tests.oidc_server import MACHINE, OidcProvider, oidc_provider

CALLBACK = "http://127.0.0.1:9/callback"
BROWSER = {
    "client_id": "browser",
    "client_secret": "the secret of another client of the tests",
    "redirect_uris": [CALLBACK],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
}
VERIFIER = "a-verifier-has-at-least-forty-three-characters"


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcProvider]:
    """Yield a provider with a client that logs people in, and a machine."""
    with oidc_provider(BROWSER, MACHINE) as running:
        yield running


class _Stop(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *told: Any) -> urllib.request.Request | None:
        """Follow redirects, but not to the client."""
        if told[-1].startswith(CALLBACK):
            told[1].close()
            raise StopIteration(told[-1])
        return super().redirect_request(*told)


def code_for(provider: OidcProvider, **more: str) -> str:
    """Log in as a browser would; return the code that the client gets."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest())
    query = {
        "client_id": "browser",
        "redirect_uri": CALLBACK,
        "response_type": "code",
        "scope": "openid",
        "code_challenge": challenge.rstrip(b"=").decode(),
        "code_challenge_method": "S256",
        **more,
    }
    browser = urllib.request.build_opener(
        _Stop(), urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    )
    with pytest.raises(StopIteration) as stopped:
        browser.open(f"{provider.issuer}/auth?{urllib.parse.urlencode(query)}")
    callback = urllib.parse.urlsplit(str(stopped.value))
    return urllib.parse.parse_qs(callback.query)["code"][0]


def claims(token: str) -> dict[str, Any]:
    """Return what a token says, unverified."""
    said: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return said


def test_people_are_logged_in_by_code(provider: OidcProvider) -> None:
    """The hint is believed, the code buys tokens, and both say who it is."""
    answer = provider.post(
        "/token",
        {
            "grant_type": "authorization_code",
            "code": code_for(provider, login_hint="root", acr_values="mfa"),
            "redirect_uri": CALLBACK,
            "code_verifier": VERIFIER,
        },
        BROWSER,
    )
    who = claims(answer["id_token"])

    assert (who["sub"], who["role"], who["acr"]) == ("root", "admin", "mfa")
    assert who["amr"] == ["pwd", "otp"]
    access = claims(answer["access_token"])

    assert (access["aud"], access["role"], access["acr"]) == ("lms", "admin", "mfa")


def test_keys_are_replaced_step_by_step(provider: OidcProvider) -> None:
    """Published, then signing, then alone: each kid is where the step puts it."""
    before = provider.keys("show")
    published = provider.keys("publish")

    assert published[:-1] == before

    promoted = provider.keys("promote")
    token = provider.token()["access_token"]

    assert jwt.get_unverified_header(token)["kid"] == promoted[0] == published[-1]

    retired = provider.keys("retire")

    assert retired == promoted[:1]


def test_tokens_outlive_a_rotation(provider: OidcProvider) -> None:
    """An opaque token is known after the keys were replaced; a strange one is not."""
    token = provider.token(resource="urn:opaque")["access_token"]
    provider.keys("rotate")
    asked = provider.post("/token/introspection", {"token": token})

    assert asked["active"] is True
    assert provider.post("/token/introspection", {"token": "x"}) == {"active": False}


def test_it_fails_when_told_to(provider: OidcProvider) -> None:
    """A path answers with the status it is told, until it is told to be well."""
    provider.fail("/jwks", 503)
    seen = provider.seen("/jwks")
    with pytest.raises(urllib.error.HTTPError, match="503") as refused:
        urllib.request.urlopen(provider.jwks)  # noqa: S310
    refused.value.close()
    provider.fail("/jwks", None)
    with urllib.request.urlopen(provider.jwks) as answer:  # noqa: S310
        assert answer.status == 200

    assert provider.seen("/jwks") == seen + 2
