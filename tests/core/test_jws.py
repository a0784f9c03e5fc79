"""Tokens are taken apart strictly, and keys serve what they were made for."""

import base64
import json

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import jws

PrivateKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)
KEYS: dict[str, PrivateKey] = {
    "RSA": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "P-384": ec.generate_private_key(ec.SECP384R1()),
    "P-521": ec.generate_private_key(ec.SECP521R1()),
    "secp256k1": ec.generate_private_key(ec.SECP256K1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
    "Ed448": ed448.Ed448PrivateKey.generate(),
    "RSA-1024": rsa.generate_private_key(public_exponent=65537, key_size=1024),  # noqa: S505
}
SECRET = "sixty-four bytes, of which every one is as secret as the others!"
PRIVATE = (
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)


def public_pem(name: str) -> str:
    """Return the public half of a key in PEM."""
    return (
        KEYS[name]
        .public_key()
        .public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        .decode()
    )


def b64(data: bytes | str) -> bytes:
    """Encode as a segment of a token."""
    data = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token(
    header: bytes | str = '{"alg":"HS256"}', payload: bytes | str = '{"a":1}'
) -> bytes:
    """Return a token with a signature of three bytes."""
    return b".".join((b64(header), b64(payload), b64(b"sig")))


def test_a_token_comes_apart() -> None:
    """A well-formed token is its header's two members, claims and signature."""
    text = token('{"typ":"JWT","alg":"HS256","kid":"k"}', '{"n":1.5,"é":[null]}')
    expected = jws.Jws(
        algorithm="HS256",
        kid="k",
        kind="jwt",
        payload={"n": 1.5, "é": [None]},
        signed=text[: text.rindex(b".")],
        signature=b"sig",
    )

    assert expected == jws.parse(text)


@pytest.mark.parametrize(
    "header",
    [
        '{"alg":"HS256","typ":"jwt"}',
        '{"alg":"HS256","typ":"application/at+JWT"}',
        '{"alg":"HS256","typ":"AT+jwt"}',
        '{"alg":"HS256","typ":"JOSE"}',
        '{"alg":"HS256","typ":"dpop+jwt"}',
        '{"alg":"none"}',
        '{"alg":"HS256","jwk":{"kty":"oct","k":"AA"},"jku":"https://x","x5u":1}',
    ],
)
def test_headers_that_ask_for_nothing_unknown_are_read(header: str) -> None:
    """Types are told apart later, key material in the header is not looked at."""
    assert json.loads(header)["alg"] == jws.parse(token(header)).algorithm


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"a.b", id="two segments"),
        pytest.param(token() + b".", id="four segments"),
        pytest.param(token() + b"." + b64("x") + b"." + b64("y"), id="jwe"),
        pytest.param(b"." + token().partition(b".")[2], id="no header"),
        pytest.param(token().rpartition(b".")[0] + b".", id="no signature"),
        pytest.param(b64('{"alg":"HS256"}') + b".." + b64("s"), id="no payload"),
        pytest.param(token() + b"=", id="padding"),
        pytest.param(token()[:-1] + b"=", id="padding in place"),
        pytest.param(token() + b"A", id="one character too many"),
        pytest.param(
            b".".join((b64('{"alg":"HS256"}'), b64("{}"), b"AB")), id="stray bits"
        ),
        pytest.param(token()[:-2] + b"+/", id="standard alphabet"),
        pytest.param(token()[:-2] + b"\n" + token()[-2:], id="line break"),
        pytest.param(token() + b" ", id="space"),
        pytest.param(token() + b"\x00", id="nul"),
        pytest.param(token() + "é".encode(), id="beyond ascii"),
        pytest.param(token(payload=" " * 1_000_000 + "{}"), id="a megabyte"),
        pytest.param(token(payload='{"a":' + "[" * 5000), id="open brackets"),
        pytest.param(
            token(payload='{"a":' + "[" * 2500 + "]" * 2500 + "}"), id="deep nesting"
        ),
        pytest.param(token(payload="[]"), id="array"),
        pytest.param(token(payload='"{}"'), id="string"),
        pytest.param(token(payload="null"), id="null"),
        pytest.param(token(payload=token()), id="nested token"),
        pytest.param(token(payload="{} {}"), id="two objects"),
        pytest.param(token(payload="{'a':1}"), id="python"),
        pytest.param(token(payload="{}\x00"), id="trailing nul"),
        pytest.param(token(payload="\ufeff{}"), id="byte order mark"),
        pytest.param(token(payload='{"a":1}'.encode("utf-16")), id="utf-16"),
        pytest.param(token(payload=b'{"a":"\xff"}'), id="not utf-8"),
        pytest.param(token(payload=b'{"a":"\xc0\xaf"}'), id="overlong utf-8"),
        pytest.param(token(payload=b'{"a":"\xed\xa0\x80"}'), id="encoded surrogate"),
        pytest.param(token(payload='{"a":1,"a":2}'), id="duplicate"),
        pytest.param(token(payload='{"a":1,"\\u0061":2}'), id="escaped duplicate"),
        pytest.param(token(payload='{"a":{"b":1,"b":1}}'), id="deep duplicate"),
        pytest.param(token(payload='{"a":NaN}'), id="nan"),
        pytest.param(token(payload='{"a":Infinity}'), id="infinity"),
        pytest.param(token(payload='{"a":-Infinity}'), id="minus infinity"),
        pytest.param(token(payload='{"a":1e400}'), id="overflow"),
        pytest.param(token(payload='{"a":-1e400}'), id="negative overflow"),
        pytest.param(token(payload=f'{{"a":{"1" * 5000}}}'), id="endless integer"),
        pytest.param(token("{}"), id="no alg"),
        pytest.param(token("[]"), id="header is an array"),
        pytest.param(token('{"alg":null}'), id="alg null"),
        pytest.param(token('{"alg":["HS256"]}'), id="alg list"),
        pytest.param(token('{"alg":"none","alg":"HS256"}'), id="alg twice"),
        pytest.param(token('{"ALG":"HS256"}'), id="alg in capitals"),
        pytest.param(token('{"alg":"HS256","crit":["exp"]}'), id="crit"),
        pytest.param(token('{"alg":"HS256","crit":[]}'), id="crit empty"),
        pytest.param(token('{"alg":"HS256","b64":false}'), id="b64"),
        pytest.param(token('{"alg":"HS256","b64":true}'), id="b64 true"),
        pytest.param(token('{"alg":"HS256","typ":""}'), id="typ empty"),
        pytest.param(token('{"alg":"HS256","typ":1}'), id="typ number"),
        pytest.param(token('{"alg":"HS256","typ":null}'), id="typ null"),
        pytest.param(token('{"alg":"HS256","kid":1}'), id="kid number"),
        pytest.param(token('{"alg":"HS256","kid":null}'), id="kid null"),
        pytest.param(token('{"alg":"HS256","kid":["k"]}'), id="kid list"),
    ],
)
def test_what_has_no_one_reading_is_malformed(text: bytes) -> None:
    """Whatever two readers could read in two ways, nobody reads."""
    with pytest.raises(jws.MalformedError) as caught:
        jws.parse(text)

    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_malformed(data: bytes) -> None:
    """No token raises anything but MalformedError, and base64url has one form."""
    for text in (data, b".".join((b64('{"alg":"HS256"}'), b64("{}"), data))):
        try:
            parsed = jws.parse(text)
        except jws.MalformedError:
            continue

        assert text == parsed.signed + b"." + b64(parsed.signature)


ROUND_TRIPS = [
    *((name, "") for name in sorted(jws.FAMILIES["HMAC"])),
    *((name, "RSA") for name in sorted(jws.FAMILIES["RSA"])),
    *(("ES256", "P-256"), ("ES384", "P-384"), ("ES512", "P-521")),
    *(("EdDSA", "Ed25519"), ("EdDSA", "Ed448")),
]


@pytest.mark.parametrize(("algorithm", "name"), ROUND_TRIPS)
def test_every_algorithm_verifies_what_it_signed(algorithm: str, name: str) -> None:
    """A signature verifies with its key, and not when a bit of anything changes."""
    signed = jwt.encode({"a": 1}, KEYS[name] if name else SECRET, algorithm).encode()
    key = jws.load_key(public_pem(name) if name else SECRET, (algorithm,))
    parsed = jws.parse(signed)
    flipped = bytes((parsed.signature[0] ^ 1,)) + parsed.signature[1:]

    assert jws.verify(parsed, key)
    assert not jws.verify(parsed._replace(signature=flipped), key)
    assert not jws.verify(parsed._replace(signature=parsed.signature[:-1]), key)
    assert not jws.verify(parsed._replace(signature=b""), key)
    assert not jws.verify(parsed._replace(signed=parsed.signed + b"A"), key)


@pytest.mark.parametrize("algorithm", ["none", "None", "", "HS1", "ES256K", "ES521"])
def test_what_is_no_algorithm_verifies_nothing(algorithm: str) -> None:
    """Even an algorithm that somebody pinned by mistake has no key that fits."""
    parsed = jws.parse(jwt.encode({}, SECRET, "HS256").encode())

    assert not jws.verify(parsed._replace(algorithm=algorithm), SECRET.encode())


@pytest.mark.parametrize(
    ("algorithm", "name"),
    [("HS256", "RSA"), ("RS256", "P-256"), ("ES256", "P-384"), ("ES256", "RSA")],
)
def test_a_key_of_another_kind_verifies_nothing(algorithm: str, name: str) -> None:
    """Kind and curve belong to the algorithm (RFC 7518, 3.4; RFC 8725, 2.1)."""
    parsed = jws.parse(jwt.encode({}, SECRET, "HS256").encode())

    assert not jws.verify(parsed._replace(algorithm=algorithm), KEYS[name].public_key())


def test_a_key_may_fit_one_of_several_algorithms() -> None:
    """An issuer with two curves has a key for each."""
    assert jws.load_key(public_pem("P-384"), ("ES256", "ES384"))


def private_pem(name: str) -> str:
    """Return a whole key in PEM."""
    return KEYS[name].private_bytes(*PRIVATE).decode()


@pytest.mark.parametrize(
    ("text", "algorithms", "message"),
    [
        (SECRET[:31], ("HS256",), "has 31 bytes and needs 32"),
        (SECRET[:47], ("HS256", "HS384"), "has 47 bytes and needs 48"),
        (SECRET[:63], ("HS512",), "has 63 bytes and needs 64"),
        ("", ("HS256",), "has 0 bytes"),
        (SECRET + "\udc80", ("HS256",), "not text that UTF-8 can encode"),
        (public_pem("RSA"), ("HS256",), "HMAC needs a secret"),
        (public_pem("Ed25519"), ("HS256",), "HMAC needs a secret"),
        (private_pem("RSA"), ("HS256",), "HMAC needs a secret"),
        (private_pem("RSA"), ("RS256",), "give the public key"),
        (private_pem("P-256"), ("ES256",), "give the public key"),
        (SECRET, ("RS256",), "no public key in PEM"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n", ("RS256",), "no public key in PEM"),
        (public_pem("RSA-1024"), ("RS256",), "has 1024 bits"),
        (public_pem("RSA"), ("ES256",), "does not fit ES256"),
        (public_pem("RSA"), ("EdDSA",), "does not fit EdDSA"),
        (public_pem("P-256"), ("RS256", "PS256"), "does not fit RS256, PS256"),
        (public_pem("P-256"), ("ES384",), "does not fit ES384"),
        (public_pem("secp256k1"), ("ES256",), "does not fit ES256"),
        (public_pem("P-256"), ("EdDSA",), "does not fit EdDSA"),
        (public_pem("Ed25519"), ("ES256",), "does not fit ES256"),
        (SECRET, ("none",), "known algorithms of exactly one family"),
        (SECRET, (), "known algorithms of exactly one family"),
        (SECRET, ("HS256", "RS256"), "known algorithms of exactly one family"),
        (SECRET, ("hs256",), "known algorithms of exactly one family"),
    ],
)
def test_keys_that_do_not_fit_are_refused_at_load(
    text: str, algorithms: tuple[str, ...], message: str
) -> None:
    """A weak, private or confused key is explained without quoting it."""
    with pytest.raises(ValueError, match=message) as caught:
        jws.load_key(text, algorithms)

    assert len(text) < 16 or text[8:16] not in str(caught.value)
    assert caught.value.__context__ is None


def test_parsed_token_shows_none_of_it() -> None:
    """A traceback or a log that has one in it gives nothing away."""
    parsed = jws.parse(token(payload='{"sub":"hush"}'))

    assert "hush" not in repr(parsed) + str(parsed) + f"{parsed}"
