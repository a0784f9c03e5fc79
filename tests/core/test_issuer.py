"""Where keys may come from, and which tokens a key verifies."""

import jwt
import pytest

from proxy.core import jws
from proxy.core.issuer import VerificationKey, allowed_url

SECRET = "sixty-four bytes, of which every one is as secret as the others!"


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://login.example", True),
        ("https://login.example:8443/realms/a/jwks?x=1", True),
        ("https://[2001:db8::1]/jwks", True),
        ("http://127.0.0.1:8080/jwks", True),
        ("http://127.9.9.9/", True),
        ("http://localhost:8080/jwks", True),
        ("http://[::1]:8080/jwks", True),
        ("http://login.example/jwks", False),
        ("http://127.0.0.1.evil.example/jwks", False),
        ("http://localhost.evil.example/", False),
        ("http://localhost@evil.example/", False),
        ("https://user:pass@login.example/", False),
        ("https://login.example/#fragment", False),
        ("https://login.example/a b", False),
        ("https:///jwks", False),
        ("HTTPS://login.example", False),
        ("ftp://login.example/jwks", False),
        ("data:application/json,{}", False),
        ("file:/run/keys/jwks.json", False),
        ("", False),
    ],
)
def test_keys_come_by_https_or_from_this_machine(url: str, allowed: bool) -> None:
    """Whoever could change what is fetched could sign every token."""
    assert allowed is allowed_url(url)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("file:/run/keys/jwks.json", True),
        ("file:///run/keys/jwks.json", True),
        ("file://host/jwks.json", False),
        ("file:jwks.json", False),
        ("file:/", False),
        ("file:/a\0b", False),
        ("https://login.example/jwks", True),
    ],
)
def test_keys_come_from_files_where_that_is_meant(url: str, allowed: bool) -> None:
    """A file has an absolute path on this machine."""
    assert allowed is allowed_url(url, files=True)


@pytest.mark.parametrize(
    ("algorithm", "verifies"), [(None, True), ("HS256", True), ("HS384", False)]
)
def test_a_key_may_be_for_one_algorithm(algorithm: str | None, verifies: bool) -> None:
    """Of those of its issuer, a key serves the one that it names."""
    token = jws.parse(jwt.encode({"a": 1}, SECRET, "HS256").encode())
    key = VerificationKey(kid=None, key=SECRET.encode(), algorithm=algorithm)

    assert verifies is key.verifies(token)
    assert VerificationKey.load(SECRET, ("HS256",), "k").kid == "k"
