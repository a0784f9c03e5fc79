"""Of what an issuer publishes, only public keys for its pinned algorithms are used."""

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import jws
from proxy.core.jwk import MAX_SET_BYTES, read_key, read_key_set, read_pem

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SHORT = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
ED_448 = ed448.Ed448PrivateKey.generate()


def jwk(key: Any, name: str = "RS256", **more: Any) -> dict[str, Any]:
    """Return a key as a member of a set."""
    return {**jwt.get_algorithm_by_name(name).to_jwk(key, as_dict=True), **more}


RSA_JWK = jwk(RSA_KEY.public_key())
EC_JWK = jwk(EC_KEY.public_key(), "ES256")
ED_JWK = jwk(ED_KEY.public_key(), "EdDSA")


def key_set(*keys: Any) -> bytes:
    """Return a JWK Set."""
    return json.dumps({"keys": keys}).encode()


def pem(key: Any) -> str:
    """Return a public key in PEM."""
    text: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return text.decode()


@pytest.mark.parametrize(
    ("member", "algorithm", "key"),
    [
        pytest.param(RSA_JWK, "RS256", RSA_KEY, id="RSA"),
        pytest.param(RSA_JWK, "PS256", RSA_KEY, id="PSS"),
        pytest.param(EC_JWK, "ES256", EC_KEY, id="EC"),
        pytest.param(ED_JWK, "EdDSA", ED_KEY, id="Ed25519"),
        pytest.param(jwk(ED_448.public_key(), "EdDSA"), "EdDSA", ED_448, id="Ed448"),
    ],
)
def test_public_keys_verify(member: dict[str, Any], algorithm: str, key: Any) -> None:
    """A published key verifies what its other half signed."""
    found = read_key(
        {**member, "kid": "k", "alg": algorithm, "use": "sig"}, (algorithm,)
    )
    token = jws.parse(jwt.encode({"a": 1}, key, algorithm).encode())

    assert (found.kid, found.algorithm, found.verifies(token)) == ("k", algorithm, True)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        pytest.param("key", "a key is an object", id="no object"),
        pytest.param(jwk(RSA_KEY), "private or symmetric", id="private RSA"),
        pytest.param(jwk(EC_KEY, "ES256"), "private or symmetric", id="private EC"),
        pytest.param(
            jwk(ED_KEY, "EdDSA"), "private or symmetric", id="private Ed25519"
        ),
        pytest.param({**RSA_JWK, "p": "AQ"}, "private or symmetric", id="a prime"),
        pytest.param({"kty": "oct", "k": "c2VjcmV0"}, "symmetric", id="symmetric"),
        pytest.param({"kty": "oct"}, "kind is not", id="symmetric without a value"),
        pytest.param({**RSA_JWK, "kid": 1}, "kid is not a string", id="kid"),
        pytest.param({**RSA_JWK, "alg": "HS256"}, "not pinned", id="HMAC"),
        pytest.param(
            {**RSA_JWK, "alg": "RS512"}, "not pinned", id="another of the kind"
        ),
        pytest.param({**RSA_JWK, "alg": "none"}, "not pinned", id="none"),
        pytest.param({**RSA_JWK, "alg": ["RS256"]}, "not pinned", id="list"),
        pytest.param({**RSA_JWK, "use": "enc"}, "not for signatures", id="use"),
        pytest.param({**RSA_JWK, "use": None}, "not for signatures", id="use null"),
        pytest.param(
            {**RSA_JWK, "key_ops": ["encrypt"]}, "not for signatures", id="operations"
        ),
        pytest.param({**RSA_JWK, "key_ops": "verify"}, "not for signatures", id="word"),
        pytest.param(EC_JWK, "kind is not", id="EC for RSA"),
        pytest.param({"kty": "XYZ"}, "kind is not", id="unknown kind"),
        pytest.param({"kty": ["RSA"]}, "kind is not", id="kind a list"),
        pytest.param({}, "kind is not", id="empty"),
        pytest.param({"kty": "RSA", "e": "AQAB"}, "cannot be read", id="half"),
        pytest.param({**RSA_JWK, "n": 7}, "cannot be read", id="number"),
        pytest.param({**RSA_JWK, "n": "AQAB"}, r"bits|cannot be read", id="tiny"),
        pytest.param(jwk(SHORT.public_key()), "1024 bits", id="short"),
    ],
)
def test_other_keys_are_left_out(member: object, message: str) -> None:
    """Each is explained in words that hold nothing of the key, the others stay."""
    with pytest.raises(ValueError, match=message) as caught:
        read_key(member, ("RS256",))
    found = read_key_set(key_set(member, RSA_JWK), ("RS256",))

    assert found.unused == (f"keys[0]: {caught.value}",)
    assert [key.kid for key in found.keys] == [None]
    assert RSA_JWK["n"][:20] not in str(caught.value)


@pytest.mark.parametrize(
    ("member", "algorithms"),
    [
        pytest.param({**EC_JWK, "y": EC_JWK["x"]}, ("ES256",), id="not on the curve"),
        pytest.param({**EC_JWK, "crv": "P-384"}, ("ES256", "ES384"), id="curve"),
        pytest.param(EC_JWK, ("ES384",), id="another curve"),
        pytest.param({**ED_JWK, "x": "AA"}, ("EdDSA",), id="cut"),
        pytest.param({**ED_JWK, "crv": "X25519"}, ("EdDSA",), id="for agreement"),
    ],
)
def test_points_are_on_their_curves(
    member: dict[str, Any], algorithms: tuple[str, ...]
) -> None:
    """A point of another curve, or of none, is no key (RFC 8725, 2.5)."""
    with pytest.raises(ValueError, match=r"cannot be read|does not fit"):
        read_key(member, algorithms)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(b"", "no JWK Set", id="nothing"),
        pytest.param(b"<html>", "no JWK Set", id="html"),
        pytest.param(b"\xff", "no JWK Set", id="no UTF-8"),
        pytest.param(b"[]", "no JWK Set", id="array"),
        pytest.param(b'{"keys": {}}', "no JWK Set", id="mapping"),
        pytest.param(json.dumps(RSA_JWK).encode(), "no JWK Set", id="a single key"),
        pytest.param(b"[" * 100_000, "no JWK Set", id="deep"),
        pytest.param(b" " * (MAX_SET_BYTES + 1), "is longer", id="long"),
        pytest.param(key_set(*[EC_JWK] * 33), "33 keys; 32", id="many"),
    ],
)
def test_what_is_no_set_is_refused(text: bytes, message: str) -> None:
    """Whatever else a server sends is no reason to forget the keys of before."""
    with pytest.raises(ValueError, match=message):
        read_key_set(text, ("ES256",))


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["keys", "kty", "n", "e", "x", "y", "crv", "alg", "kid", "use"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_document_is_read_or_refused(document: Any) -> None:
    """No document raises anything but ValueError."""
    text = json.dumps({"keys": document}).encode()
    try:
        found = read_key_set(text, ("RS256",))
    except ValueError:
        return

    assert found.keys == ()


def test_pem_is_read_key_by_key() -> None:
    """A file of public keys is keys without a kid."""
    found = read_pem((pem(EC_KEY) + "\n" + pem(EC_KEY)).encode(), ("ES256",))

    assert [key.kid for key in found.keys] == [None, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(b"", "0 keys in PEM", id="nothing"),
        pytest.param(pem(EC_KEY).encode() * 33, "33 keys in PEM", id="many"),
        pytest.param(pem(RSA_KEY).encode(), "does not fit", id="another kind"),
        pytest.param(b"\xff-----BEGIN", "0 keys", id="binary"),
    ],
)
def test_other_pem_is_refused(text: bytes, message: str) -> None:
    """A file that somebody wrote has to be right as a whole."""
    with pytest.raises(ValueError, match=message):
        read_pem(text, ("ES256",))
