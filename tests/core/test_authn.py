"""Who a bearer token speaks for, and the many ways in which it speaks for nobody."""

import base64
import dataclasses
import itertools
import json
import string
import traceback
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.authn import (
    Authenticator,
    Issuer,
    IssuerKeys,
    Principal,
    Trusted,
    Unsettled,
    VerificationKey,
)
from proxy.core.errors import Refused
from proxy.core.issuer import RemoteKeys
from proxy.core.reasons import Reason
from proxy.core.revocations import Kind, Revocation

NOW = 1_000_000.0
SECRET = "sixty-four bytes, of which every one is as secret as the others!"
OTHER_SECRET = SECRET[::-1]
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
CLAIMS: dict[str, Any] = {
    "iss": "https://id.example",
    "aud": "lms",
    "sub": "ada",
    "exp": NOW + 60,
    "role": "teacher",
}


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | Any) -> str:
    """Return the public half of a key in PEM."""
    public: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return public.decode()


def issuer(
    name: str, key: str, *algorithms: str, kid: str | None = None, **other: Any
) -> Issuer:
    """Return an issuer with one key; its ``iss`` is its name's address."""
    settings: dict[str, Any] = {
        "audience": ("lms", "lms-admin"),
        "roles": ("role",),
    }
    if "keys" not in other:
        settings["keys"] = (VerificationKey.load(key, algorithms, kid),)
    return Issuer(
        id=name,
        issuer=f"https://{name}.example",
        algorithms=algorithms,
        **settings | other,
    )


ISSUERS = {
    one.issuer: one
    for one in (
        issuer("id", SECRET, "HS256"),
        issuer("rsa", pem(RSA_KEY), "RS256"),
        issuer("ec", pem(EC_KEY), "ES256"),
        issuer("ed", pem(ED_KEY), "EdDSA"),
        issuer("named", SECRET, "HS256", kid="one"),
        issuer("deep", SECRET, "HS256", roles=("realm", "roles")),
        issuer("slow", SECRET, "HS256", leeway=5.0),
        issuer("access", SECRET, "HS256", types=frozenset({"at+jwt"})),
        issuer("short", SECRET, "HS256", max_lifetime=300.0),
        issuer("demanding", SECRET, "HS256", required=("jti", "dep")),
    )
}


def signed(
    claims: dict[str, Any] | bytes | str,
    header: dict[str, Any] | None = None,
    key: Any = SECRET,
    algorithm: str = "HS256",
) -> bytes:
    """Return an Authorization value with a token that is signed whatever it says."""
    text = json.dumps(claims) if isinstance(claims, dict) else claims
    payload = text.encode() if isinstance(text, str) else text
    names = {"alg": algorithm, "typ": "JWT"} | (header or {})
    parts = b".".join((b64(json.dumps(names).encode()), b64(payload)))
    signer = jwt.get_algorithm_by_name(algorithm)
    return b"Bearer " + parts + b"." + b64(signer.sign(parts, signer.prepare_key(key)))


def b64(data: bytes) -> bytes:
    """Encode as a segment of a token."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def but(**claims: Any) -> dict[str, Any]:
    """Return the claims with others; None is null."""
    return CLAIMS | claims


def without(*names: str) -> dict[str, Any]:
    """Return the claims without some."""
    return {name: value for name, value in CLAIMS.items() if name not in names}


def at(name: str, **claims: Any) -> dict[str, Any]:
    """Return the claims as of another issuer."""
    return but(iss=f"https://{name}.example", **claims)


def forged(header: dict[str, Any], signature: bytes = b"") -> bytes:
    """Return a token with a made-up header and signature."""
    head, body = json.dumps(header).encode(), json.dumps(CLAIMS).encode()
    return b"Bearer " + b64(head) + b"." + b64(body) + b"." + b64(signature)


def authenticate(authorization: bytes | None, now: float = NOW) -> Principal:
    """Authenticate once, with no memory."""
    return Authenticator(ISSUERS).authenticate(authorization, now)


def refusal(
    authorization: bytes | None, now: float = NOW, by: Authenticator | None = None
) -> Refused:
    """Return how an Authorization value is refused."""
    with pytest.raises(Refused) as caught:
        (by or Authenticator(ISSUERS)).authenticate(authorization, now)
    return caught.value


def test_a_good_token_is_a_principal() -> None:
    """A token speaks for its subject, in its roles, until it expires."""
    expected = Principal(
        subject="ada",
        roles=("teacher",),
        issuer="id",
        expires_at=NOW + 60,
        not_before=NOW - 1,
    )

    assert expected == authenticate(signed(but(nbf=NOW - 1)))


@pytest.mark.parametrize(
    "authorization",
    [
        pytest.param(signed(at("access"), {"typ": "application/AT+JWT"}), id="type"),
        pytest.param(signed(at("short", iat=NOW, exp=NOW + 300)), id="lifetime"),
        pytest.param(signed(at("demanding", jti="1", dep=0)), id="claims"),
    ],
)
def test_what_an_issuer_asks_for_is_enough(authorization: bytes) -> None:
    """A token that just meets the demands of its issuer is accepted."""
    assert authenticate(authorization).subject == "ada"


@pytest.mark.parametrize(
    ("claims", "key", "algorithm"),
    [
        (at("id"), SECRET, "HS256"),
        (at("rsa"), RSA_KEY, "RS256"),
        (at("ec"), EC_KEY, "ES256"),
        (at("ed"), ED_KEY, "EdDSA"),
    ],
)
def test_every_family_of_algorithms_is_accepted(
    claims: dict[str, Any], key: object, algorithm: str
) -> None:
    """The issuer's key and algorithm verify its tokens."""
    assert authenticate(signed(claims, None, key, algorithm)).subject == "ada"


@pytest.mark.parametrize(
    "authorization",
    [
        signed(CLAIMS).replace(b"Bearer", b"bearer"),
        signed(CLAIMS).replace(b"Bearer", b"BEARER"),
        signed(CLAIMS).replace(b"Bearer ", b"Bearer   "),
        signed(CLAIMS, {"typ": "at+jwt"}),
        signed(CLAIMS, {"kid": "whatever"}),
        signed(
            CLAIMS, {"jku": "https://evil.example/", "x5u": "https://evil.example/"}
        ),
        signed(but(aud=["other", "lms-admin"])),
        signed(but(exp=int(NOW) + 60, nbf=0, iat=0.5)),
        signed(but(sub="Zoë 李", extra={"deep": [1, 2.5, None]})),
        signed(but(sub="s" * 1024)),
        signed(but(jti="j", sid="s", acr="mfa", amr=["pwd", "otp"], auth_time=NOW)),
    ],
)
def test_harmless_variants_are_accepted(authorization: bytes) -> None:
    """What standards leave open is left open."""
    assert authenticate(authorization).issuer == "id"


@pytest.mark.parametrize(
    ("claims", "roles"),
    [
        (at("id", role="admin"), ("admin",)),
        (at("id", role=["b", "a", "b"]), ("b", "a", "b")),
        (at("id", role=[]), ()),
        (without("role"), ()),
        (at("deep", realm={"roles": ["a"]}), ("a",)),
        (at("deep", realm={}), ()),
        (at("deep"), ()),
    ],
)
def test_roles_are_read_along_the_issuers_path(
    claims: dict[str, Any], roles: tuple[str, ...]
) -> None:
    """A string or a list of strings is roles in order; nothing there is no roles."""
    assert roles == authenticate(signed(claims)).roles


MISSING, MALFORMED = Reason.TOKEN_MISSING, Reason.TOKEN_MALFORMED
ALGORITHM, ISSUER = Reason.ALGORITHM_NOT_ALLOWED, Reason.ISSUER_NOT_TRUSTED
KEY, SIGNATURE = Reason.KEY_UNKNOWN, Reason.SIGNATURE_INVALID
AUDIENCE, CLAIM = Reason.AUDIENCE_MISMATCH, Reason.CLAIM_INVALID
EVIL = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EVIL_JWK = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(EVIL.public_key()))
RSA_PEM = pem(RSA_KEY).encode()


def hmac_with_public_key() -> bytes:
    """Sign HS256 with the bytes of a public key, as key confusion does."""
    head, body = b'{"alg":"HS256"}', json.dumps(at("rsa")).encode()
    parts = b64(head) + b"." + b64(body)
    signer = jwt.get_algorithm_by_name("HS256")
    return b"Bearer " + parts + b"." + b64(signer.sign(parts, RSA_PEM))


def untyped(claims: dict[str, Any]) -> bytes:
    """Return a token that does not say what kind of token it is."""
    return (
        b"Bearer " + jwt.encode(claims, SECRET, "HS256", headers={"typ": None}).encode()
    )


def altered(payload: dict[str, Any]) -> bytes:
    """Return a good token with its payload exchanged."""
    head, _, signature = signed(CLAIMS).split(b".")
    return b".".join((head, b64(json.dumps(payload).encode()), signature))


def with_stray_bits(authorization: bytes) -> bytes:
    """Return a token whose signature has the same bytes in another encoding."""
    last = authorization[-1:]
    digits = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    return authorization[:-1] + digits[digits.index(last.decode()) + 1].encode()


ATTACKS = {
    # Not a bearer token at all.
    "nothing": (None, MISSING),
    "empty": (b"", MISSING),
    "basic": (b"Basic YWRhOmFkYQ==", MISSING),
    "token without scheme": (signed(CLAIMS)[7:], MISSING),
    "scheme glued": (signed(CLAIMS).replace(b"Bearer ", b"BearerX "), MISSING),
    "tab": (signed(CLAIMS).replace(b" ", b"\t"), MISSING),
    "two schemes": (b"Basic x, " + signed(CLAIMS), MISSING),
    "scheme alone": (b"Bearer", MALFORMED),
    "scheme and space": (b"Bearer ", MALFORMED),
    "two tokens": (signed(CLAIMS) + b" " + signed(CLAIMS)[7:], MALFORMED),
    "two values": (signed(CLAIMS) + b", " + signed(CLAIMS), MALFORMED),
    "quoted": (b'Bearer "' + signed(CLAIMS)[7:] + b'"', MALFORMED),
    "opaque": (b"Bearer 0123456789abcdef", MALFORMED),
    "one megabyte": (signed(but(x="x" * 1_000_000)), MALFORMED),
    "just over 8 KiB": (b"Bearer " + b"a" * 8193, MALFORMED),
    "spaces without end": (b"Bearer " + b" " * 9000 + b"a.b.c", MALFORMED),
    # The algorithm is not the token's choice.
    **{
        f"alg {name}": (forged({"alg": name}, signature), reason)
        for name, signature, reason in (
            ("none", b"x", ALGORITHM),
            ("None", b"x", ALGORITHM),
            ("NONE", b"x", ALGORITHM),
            ("nOnE", b"x", ALGORITHM),
            ("none ", b"x", ALGORITHM),
            ("", b"x", ALGORITHM),
            ("HS257", b"x", ALGORITHM),
            ("hs256", b"x", ALGORITHM),
        )
    },
    "alg none, unsigned": (forged({"alg": "none"}), MALFORMED),
    "alg missing": (forged({"typ": "JWT"}, b"x"), MALFORMED),
    "alg null": (forged({"alg": None}, b"x"), MALFORMED),
    "alg list": (forged({"alg": ["HS256"]}, b"x"), MALFORMED),
    "stronger of the family": (signed(CLAIMS, algorithm="HS512"), ALGORITHM),
    "rsa for an hmac issuer": (signed(CLAIMS, None, RSA_KEY, "RS256"), ALGORITHM),
    "hmac with the rsa key": (hmac_with_public_key(), ALGORITHM),
    "pss for a pkcs1 issuer": (signed(at("rsa"), None, RSA_KEY, "PS256"), ALGORITHM),
    # The key is not the token's choice.
    "embedded jwk": (
        signed(at("rsa"), {"jwk": EVIL_JWK}, EVIL, "RS256"),
        SIGNATURE,
    ),
    "jku": (
        signed(at("rsa"), {"jku": "https://evil.example/jwks"}, EVIL, "RS256"),
        SIGNATURE,
    ),
    "x5u": (
        signed(at("rsa"), {"x5u": "https://evil.example/pem"}, EVIL, "RS256"),
        SIGNATURE,
    ),
    "kid of nobody": (signed(at("named"), {"kid": "two"}), KEY),
    "kid empty": (signed(at("named"), {"kid": ""}), KEY),
    "kid in capitals": (signed(at("named"), {"kid": "ONE"}), KEY),
    "kid of a file": (signed(at("named"), {"kid": "../../dev/null"}), KEY),
    "kid of sql": (signed(at("named"), {"kid": "x' UNION SELECT 'one"}), KEY),
    "kid number": (signed(at("named"), {"kid": 1}), MALFORMED),
    "kid null": (signed(at("named"), {"kid": None}), MALFORMED),
    "crit": (signed(CLAIMS, {"crit": ["exp"]}), MALFORMED),
    "b64": (signed(CLAIMS, {"b64": False, "crit": ["b64"]}), MALFORMED),
    "typ": (signed(CLAIMS, {"typ": "logout+jwt"}), MALFORMED),
    "typ of a proof": (signed(CLAIMS, {"typ": "dpop+jwt"}), MALFORMED),
    "typ of an assertion": (signed(CLAIMS, {"typ": "JOSE"}), MALFORMED),
    "typ empty": (signed(CLAIMS, {"typ": ""}), MALFORMED),
    "typ list": (signed(CLAIMS, {"typ": ["JWT"]}), MALFORMED),
    "typ of another kind of token": (signed(at("access")), MALFORMED),
    "typ missing": (untyped(at("access")), MALFORMED),
    # The signature.
    "other secret": (signed(CLAIMS, key=OTHER_SECRET), SIGNATURE),
    "payload exchanged": (altered(but(role="admin")), SIGNATURE),
    "signature of another issuer": (signed(at("rsa"), None, EVIL, "RS256"), SIGNATURE),
    "signature cut": (signed(CLAIMS)[:-3], SIGNATURE),
    "signature missing": (signed(CLAIMS).rpartition(b".")[0] + b".", MALFORMED),
    "padded": (signed(CLAIMS) + b"=", MALFORMED),
    "trailing bits": (with_stray_bits(signed(CLAIMS)), MALFORMED),
    "standard base64": (signed(CLAIMS)[:-4] + b"+/+/", MALFORMED),
    "jwe": (signed(CLAIMS) + b".e30.e30", MALFORMED),
    "json serialisation": (b'Bearer {"payload":"e30"}', MALFORMED),
    **{
        f"psychic {size}": (
            signed(at("ec"), None, EC_KEY, "ES256").rpartition(b".")[0]
            + b"."
            + b64(bytes(size)),
            SIGNATURE,
        )
        for size in (2, 63, 64, 65, 96)
    },
    "ecdsa in der": (
        signed(at("ec"), None, EC_KEY, "ES256").rpartition(b".")[0]
        + b"."
        + b64(bytes.fromhex("3006020100020100")),
        SIGNATURE,
    ),
    "eddsa of zeros": (
        signed(at("ed"), None, ED_KEY, "EdDSA").rpartition(b".")[0]
        + b"."
        + b64(bytes(64)),
        SIGNATURE,
    ),
    # The JSON.
    "nested token": (signed(signed(CLAIMS)[7:]), MALFORMED),
    "array": (signed("[]"), MALFORMED),
    "not utf-8": (signed(json.dumps(CLAIMS).encode() + b"\xff"), MALFORMED),
    "utf-16": (signed(json.dumps(CLAIMS).encode("utf-16")), MALFORMED),
    "duplicate sub": (signed(json.dumps(CLAIMS)[:-1] + ',"sub":"eve"}'), MALFORMED),
    "duplicate iss": (
        signed('{"iss":"https://evil.example",' + json.dumps(CLAIMS)[1:]),
        MALFORMED,
    ),
    "exp nan": (signed(but(exp=float("nan"))), MALFORMED),
    "exp infinite": (signed(but(exp=float("inf"))), MALFORMED),
    "exp 1e400": (
        signed(json.dumps(CLAIMS).replace(str(NOW + 60), "1e400")),
        MALFORMED,
    ),
    "nested too deeply": (
        signed(json.dumps(CLAIMS)[:-1] + ',"x":' + "[" * 2400 + "]" * 2400 + "}"),
        MALFORMED,
    ),
    # The claims.
    "iss missing": (signed(without("iss")), ISSUER),
    "iss of a stranger": (signed(but(iss="https://evil.example")), ISSUER),
    "iss with a slash": (signed(but(iss="https://id.example/")), ISSUER),
    "iss in capitals": (signed(but(iss="HTTPS://ID.EXAMPLE")), ISSUER),
    "iss list": (signed(but(iss=["https://id.example"])), ISSUER),
    "iss null": (signed(but(iss=None)), ISSUER),
    "iss by id": (signed(but(iss="id")), ISSUER),
    "aud missing": (signed(without("aud")), CLAIM),
    "aud null": (signed(but(aud=None)), CLAIM),
    "aud number": (signed(but(aud=1)), CLAIM),
    "aud object": (signed(but(aud={"lms": True})), CLAIM),
    "aud mixed list": (signed(but(aud=["lms", 1])), CLAIM),
    "aud list of lists": (signed(but(aud=[["lms"]])), CLAIM),
    "aud of another": (signed(but(aud="shop")), AUDIENCE),
    "aud prefix": (signed(but(aud="lm")), AUDIENCE),
    "aud empty": (signed(but(aud="")), AUDIENCE),
    "aud empty list": (signed(but(aud=[])), AUDIENCE),
    "aud list of others": (signed(but(aud=["shop", "LMS"])), AUDIENCE),
    "exp missing": (signed(without("exp")), CLAIM),
    "exp null": (signed(but(exp=None)), CLAIM),
    "exp string": (signed(but(exp=str(NOW + 60))), CLAIM),
    "exp true": (signed(but(exp=True)), CLAIM),
    "exp list": (signed(but(exp=[NOW + 60])), CLAIM),
    "exp beyond floats": (signed(but(exp=10**400)), CLAIM),
    "exp beyond exact": (signed(but(exp=2**53 + 1)), CLAIM),
    "exp zero": (signed(but(exp=0)), Reason.TOKEN_EXPIRED),
    "exp negative": (signed(but(exp=-1)), Reason.TOKEN_EXPIRED),
    "nbf null": (signed(but(nbf=None)), CLAIM),
    "nbf string": (signed(but(nbf="0")), CLAIM),
    "iat false": (signed(but(iat=False)), CLAIM),
    "iat string": (signed(but(iat="now")), CLAIM),
    "nbf in the future": (signed(but(nbf=NOW + 1)), Reason.TOKEN_NOT_YET_VALID),
    "iat in the future": (signed(but(iat=NOW + 1)), Reason.TOKEN_NOT_YET_VALID),
    "good for too long": (signed(at("short", iat=NOW, exp=NOW + 301)), CLAIM),
    "good for ever": (signed(at("short", iat=NOW, exp=2**52)), CLAIM),
    "lifetime not to be told": (signed(at("short", exp=NOW + 9)), CLAIM),
    "lifetime from null": (signed(at("short", iat=None)), CLAIM),
    "required claim missing": (signed(at("demanding", jti="1")), CLAIM),
    "required claim null": (signed(at("demanding", jti="1", dep=None)), CLAIM),
    "required claim empty": (signed(at("demanding", jti="", dep=1)), CLAIM),
    "required claim an empty list": (signed(at("demanding", jti="1", dep=[])), CLAIM),
    "jti number": (signed(but(jti=1)), CLAIM),
    "jti null": (signed(but(jti=None)), CLAIM),
    "jti too long": (signed(but(jti="j" * 1025)), CLAIM),
    "sid list": (signed(but(sid=["s"])), CLAIM),
    "sid with a line break": (signed(but(sid="s\n")), CLAIM),
    "acr number": (signed(but(acr=1)), CLAIM),
    "amr number": (signed(but(amr=1)), CLAIM),
    "amr mixed list": (signed(but(amr=["pwd", 1])), CLAIM),
    "auth_time string": (signed(but(auth_time="0")), CLAIM),
    "auth_time true": (signed(but(auth_time=True)), CLAIM),
    "sub missing": (signed(without("sub")), CLAIM),
    "sub null": (signed(but(sub=None)), CLAIM),
    "sub number": (signed(but(sub=7)), CLAIM),
    "sub list": (signed(but(sub=["ada"])), CLAIM),
    "sub empty": (signed(but(sub="")), CLAIM),
    "sub too long": (signed(but(sub="s" * 1025)), CLAIM),
    "sub with a line break": (signed(but(sub="ada\r\nX-Lumina-Role: admin")), CLAIM),
    "sub with nul": (signed(but(sub="ada\0")), CLAIM),
    "sub with del": (signed(but(sub="ada\x7f")), CLAIM),
    "sub with c1": (signed(but(sub="ada\x85")), CLAIM),
    "sub half a pair": (signed(but(sub="ada\ud800")), CLAIM),
    "role number": (signed(but(role=1)), CLAIM),
    "role null": (signed(but(role=None)), CLAIM),
    "role object": (signed(but(role={"admin": True})), CLAIM),
    "role mixed list": (signed(but(role=["teacher", 1])), CLAIM),
    "role path through a string": (signed(at("deep", realm="roles")), CLAIM),
    "role path through a list": (signed(at("deep", realm=["roles"])), CLAIM),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_refused(name: str) -> None:
    """Each attack is refused for its own reason, with a challenge of RFC 6750."""
    authorization, reason = ATTACKS[name]
    refused = refusal(authorization)
    challenge = 'Bearer realm="lumina-proxy"'
    if reason is not MISSING:
        challenge += f', error="invalid_token", error_description="{reason.title}"'

    assert reason is refused.reason
    assert (("WWW-Authenticate", challenge),) == refused.headers


@pytest.mark.parametrize("name", ATTACKS)
def test_refusals_hold_nothing_of_the_token(name: str) -> None:
    """Neither a refusal nor what it was raised from quotes token or claims."""
    refused = refusal(ATTACKS[name][0])
    said = "".join(traceback.format_exception(refused))
    chain: BaseException | None = refused
    while chain:
        said += repr(chain) + repr(vars(chain))
        chain = chain.__context__

    for secret in ("eyJ", "evil.example", "id.example", "YWRh", "teacher", "admin"):
        assert secret not in said


def test_the_signature_is_checked_before_the_claims() -> None:
    """A forged token learns nothing of what its claims should be."""
    wrong = but(aud="shop", exp="x", sub="", role=1)

    assert SIGNATURE is refusal(signed(wrong, key=OTHER_SECRET)).reason
    assert AUDIENCE is refusal(signed(wrong)).reason


@pytest.mark.parametrize(
    ("leeway", "offset", "reason"),
    [
        (0.0, 58.999, None),
        (0.0, 59.0, None),
        (0.0, 59.999, None),
        (0.0, 60.0, Reason.TOKEN_EXPIRED),
        (0.0, 61.0, Reason.TOKEN_EXPIRED),
        (0.0, 10.0, None),
        (0.0, 9.999, Reason.TOKEN_NOT_YET_VALID),
        (0.0, 9.0, Reason.TOKEN_NOT_YET_VALID),
        (5.0, 64.999, None),
        (5.0, 65.0, Reason.TOKEN_EXPIRED),
        (5.0, 5.0, None),
        (5.0, 4.999, Reason.TOKEN_NOT_YET_VALID),
    ],
)
def test_a_token_is_valid_from_and_until(
    leeway: float, offset: float, reason: Reason | None
) -> None:
    """``exp`` is the first instant without (RFC 7519, 4.1.4); leeway widens both ends.

    It makes no difference whether the token is remembered.
    """
    authorization = signed(at("slow" if leeway else "id", nbf=NOW + 10))
    warm = Authenticator(ISSUERS)
    warm.authenticate(authorization, NOW + 30)

    for by in (Authenticator(ISSUERS), warm):
        if reason is None:
            found = by.authenticate(authorization, NOW + offset)

            assert leeway == found.leeway
        else:
            assert reason is refusal(authorization, NOW + offset, by).reason


def test_a_remembered_token_is_the_same_principal_until_it_expires() -> None:
    """A hit costs no verification, and expiry is enforced and forgets it."""
    by = Authenticator(ISSUERS)
    authorization = signed(CLAIMS)
    first = by.authenticate(authorization, NOW)

    assert first is by.authenticate(bytes(bytearray(authorization)), NOW + 59)
    assert Reason.TOKEN_EXPIRED is refusal(authorization, NOW + 60, by).reason
    assert not by._young
    assert not by._old


def test_a_token_that_is_not_valid_yet_becomes_valid() -> None:
    """Being early is not remembered as being wrong."""
    by = Authenticator(ISSUERS)
    authorization = signed(but(nbf=NOW + 5))

    assert Reason.TOKEN_NOT_YET_VALID is refusal(authorization, NOW, by).reason
    assert by.authenticate(authorization, NOW + 5).subject == "ada"


def test_only_verified_tokens_are_remembered() -> None:
    """A flood of bad tokens displaces nothing."""
    by = Authenticator(ISSUERS)
    for authorization, _ in ATTACKS.values():
        refusal(authorization, NOW, by)
    early = {signed(but(nbf=NOW + 1)), signed(but(iat=NOW + 1))}

    assert early == by._young.keys()


@pytest.mark.parametrize("size", [0, 1, 2, 7, 10])
def test_the_memory_is_bounded(size: int) -> None:
    """Never more than ``cache_size`` tokens (at least two), whatever comes."""
    by = Authenticator(ISSUERS, cache_size=size)
    for number in range(40):
        by.authenticate(signed(but(sub=f"user {number % 23}")), NOW)

        assert len(by._young) + len(by._old) <= max(2, size)
        assert not by._young.keys() & by._old.keys()


def test_what_is_used_stays_remembered() -> None:
    """A token in use moves to the young generation; an idle one is forgotten."""
    by = Authenticator(ISSUERS, cache_size=4)
    used, idle = signed(but(sub="used")), signed(but(sub="idle"))
    first, other = by.authenticate(used, NOW), by.authenticate(idle, NOW)
    for number in range(8):
        by.authenticate(signed(but(sub=f"user {number}")), NOW)

        assert first is by.authenticate(used, NOW)
    assert other is not by.authenticate(idle, NOW)
    assert other == by.authenticate(idle, NOW)


def named(*keys: tuple[str | None, str]) -> Authenticator:
    """Return an authenticator of one issuer with these keys by id."""
    loaded = tuple(VerificationKey.load(key, ("HS256",), kid) for kid, key in keys)
    one = issuer("id", SECRET, "HS256", keys=loaded)
    return Authenticator({"any name": one})


@pytest.mark.parametrize(
    ("keys", "kid", "reason"),
    [
        ([("a", SECRET), ("b", OTHER_SECRET)], "a", None),
        ([("b", OTHER_SECRET), ("a", SECRET)], None, None),
        ([("a", SECRET), ("b", OTHER_SECRET)], "b", SIGNATURE),
        ([("a", SECRET)], "b", KEY),
        ([("a", OTHER_SECRET), (None, SECRET)], "b", None),
        ([("a", OTHER_SECRET), (None, SECRET)], "a", SIGNATURE),
        ([(None, OTHER_SECRET), (None, SECRET)], "b", None),
        ([(None, OTHER_SECRET)], None, SIGNATURE),
        ([], None, KEY),
    ],
)
def test_a_kid_narrows_the_keys(
    keys: list[tuple[str | None, str]], kid: str | None, reason: Reason | None
) -> None:
    """A key of that id, else those without one; without a kid, any of them."""
    authorization = signed(CLAIMS, None if kid is None else {"kid": kid})
    by = named(*keys)

    if reason is None:
        assert by.authenticate(authorization, NOW).subject == "ada"
    else:
        assert reason is refusal(authorization, NOW, by).reason


def test_keys_are_not_shown() -> None:
    """The repr of a key, and of an issuer, is without the key."""
    one = issuer("id", SECRET, "HS256", kid="k")

    assert repr(one.keys[0]) == "VerificationKey(kid='k', algorithm=None)"
    assert SECRET not in repr(one)


def test_a_bad_key_is_refused_at_load() -> None:
    """Loading says what is wrong with a key."""
    with pytest.raises(ValueError, match="needs 32"):
        VerificationKey.load("short", ("HS256",))


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_refused(data: bytes) -> None:
    """Whatever is no token is a refusal, never another error."""
    for authorization in (data, b"Bearer " + data):
        assert refusal(authorization).reason in {MISSING, MALFORMED}


@given(st.data())
def test_no_changed_byte_goes_unnoticed(data: st.DataObject) -> None:
    """A good token with one other byte is refused."""
    good = bytearray(signed(CLAIMS))
    place = data.draw(st.integers(len(b"Bearer "), len(good) - 1))
    old = good[place]
    good[place] = data.draw(st.integers(0, 255).filter(lambda one: one != old))

    assert refusal(bytes(good)).reason in {MALFORMED, SIGNATURE, ALGORITHM, ISSUER, KEY}


def test_the_attacks_are_many() -> None:
    """The table does not shrink unnoticed, and covers every reason of a token."""
    reasons = {reason for _, reason in ATTACKS.values()}

    assert len(ATTACKS) >= 100
    tokens = {one for one in Reason if one.slug.startswith("token-")}

    assert tokens - {Reason.TOKEN_REVOKED} <= reasons
    assert {ALGORITHM, ISSUER, KEY, SIGNATURE, AUDIENCE, CLAIM} <= reasons
    assert all(
        one != other
        for (one, _), (other, _) in itertools.combinations(ATTACKS.values(), 2)
        if one is not None
    )


REMOTE = issuer(
    "far", SECRET, "ES256", keys=(), remote=RemoteKeys(url="https://far.example/jwks")
)
FAR = signed(at("far"), {"kid": "1"}, EC_KEY, "ES256")
PUBLIC = VerificationKey(kid="1", key=EC_KEY.public_key(), algorithm="ES256")
OTHER = VerificationKey(
    kid="2", key=ec.generate_private_key(ec.SECP256R1()).public_key()
)


def far(*keys: VerificationKey) -> tuple[IssuerKeys, Authenticator]:
    """Return an issuer's keys, to be changed, and who uses them."""
    trusted = Trusted()
    if keys:
        trusted.keys.put(REMOTE.issuer, keys)
    return trusted.keys, Authenticator({"far": REMOTE}, trusted=trusted)


@pytest.mark.parametrize(
    ("keys", "authorization", "reason"),
    [
        pytest.param((), FAR, Reason.ISSUER_UNAVAILABLE, id="no keys yet"),
        pytest.param((OTHER,), FAR, KEY, id="another kid"),
        pytest.param(
            (OTHER,), signed(at("far"), None, EC_KEY, "ES256"), SIGNATURE, id="no kid"
        ),
    ],
)
def test_what_the_issuer_may_know_is_unsettled(
    keys: tuple[VerificationKey, ...], authorization: bytes, reason: Reason
) -> None:
    """A key that is not here may have been published since: whoever can wait, asks."""
    _, by = far(*keys)
    with pytest.raises(Unsettled) as caught:
        by.authenticate(authorization, NOW)

    assert (caught.value.reason, caught.value.issuer) == (reason, REMOTE)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        pytest.param(dataclasses.replace(OTHER, kid="1"), SIGNATURE, id="wrong key"),
        pytest.param(
            dataclasses.replace(PUBLIC, algorithm="ES384"),
            SIGNATURE,
            id="key for other",
        ),
    ],
)
def test_a_key_that_is_here_settles_it(key: VerificationKey, reason: Reason) -> None:
    """A signature that the named key did not make is refused, and nobody is asked."""
    found = refusal(FAR, by=far(key)[1])

    assert (found.reason, type(found)) == (reason, Refused)


def test_a_withdrawn_key_ends_its_tokens() -> None:
    """Remembered or not, a token is good for as long as its key is published."""
    ring, by = far(PUBLIC)
    by.authenticate(FAR, NOW)
    ring.put(REMOTE.issuer, (PUBLIC, OTHER))

    assert by.authenticate(FAR, NOW).subject == "ada"

    ring.put(REMOTE.issuer, (OTHER,))

    assert refusal(FAR, by=by).reason is KEY

    ring.drop(REMOTE.issuer)
    ring.drop(REMOTE.issuer)

    assert refusal(FAR, by=by).reason is Reason.ISSUER_UNAVAILABLE


def test_a_revoked_token_is_refused_and_forgotten() -> None:
    """From the next request on, remembered or not; and good again once restored."""
    trusted = Trusted()
    revocations = trusted.revocations
    by = Authenticator(ISSUERS, trusted=trusted)
    authorization = signed(but(jti="1"))
    by.authenticate(authorization, NOW)
    one = Revocation(
        kind=Kind.TOKEN, issuer=CLAIMS["iss"], value="1", before=NOW, until=NOW + 60
    )
    revocations.add(dataclasses.replace(one, value="2"))

    assert by.authenticate(authorization, NOW).token_id == "1"

    revocations.add(one)

    assert refusal(authorization, by=by).reason is Reason.TOKEN_REVOKED
    assert refusal(authorization, by=by).reason is Reason.TOKEN_REVOKED

    revocations.restore(one.key)

    assert by.authenticate(authorization, NOW).token_id == "1"


def test_claims_are_kept_for_whoever_asks() -> None:
    """Conditions read every claim; where there are none, nothing is kept."""
    without_claims = Authenticator(ISSUERS, keep_claims=False)

    assert authenticate(signed(but(x=[1]))).claims == but(x=[1])
    assert without_claims.authenticate(signed(but(x=[1])), NOW).claims == {}


def test_remembered_bytes_are_bounded() -> None:
    """Long tokens are fewer tokens: what is remembered has a bound in bytes."""
    by = Authenticator(ISSUERS, cache_bytes=40_000)
    for number in range(50):
        by.authenticate(signed(but(sub=f"{number}", x="x" * 3000)), NOW)

    assert sum(map(len, (*by._young, *by._old))) <= 40_000 + 2 * 8192
    assert by._old


@pytest.mark.parametrize("kid", ["1", "{}", None], ids=["known", "own", "none"])
def test_a_flood_of_bad_tokens_displaces_nobody(kid: str | None) -> None:
    """Nothing of what does not verify is kept: memory and good tokens stay."""
    ring, by = far(PUBLIC)
    by.authenticate(FAR, NOW)
    before = (dict(by._young), by._young_bytes)
    another = ec.generate_private_key(ec.SECP256R1())
    for number in range(2000):
        head = {"kid": kid.format(number)} if kid else None
        with pytest.raises(Refused):
            by.authenticate(signed(at("far", n=number), head, another, "ES256"), NOW)

    assert (dict(by._young), by._young_bytes) == before
    assert ring.of(REMOTE.issuer) == (PUBLIC,)
