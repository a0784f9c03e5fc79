"""Known answers, an independent decryptor, and every way in which opening must fail."""

import base64
import copy
import json
import pickle
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.cipher import Cipher, ciphertext_length, is_ciphertext
from proxy.core.errors import Refused
from proxy.core.keyset import Keyset
from proxy.core.masks import MARKER, looks_masked, mask
from proxy.core.reasons import Reason

KEY = bytes(range(32))
OTHER = bytes(range(1, 33))
VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "cipher_v1.json").read_text("utf-8")
)


def a_cipher(*keys: bytes, deployment: str = "lms", nonce: bytes = b"n" * 12) -> Cipher:
    """Return a cipher whose nonces are all the same."""
    return Cipher(Keyset(list(keys or (KEY,))), deployment, lambda: nonce)


def opened(key: bytes, deployment: str, field: str, text: str) -> str:
    """Decrypt format v1 with nothing of the product: the second implementation."""

    def prefixed(part: bytes) -> bytes:
        return len(part).to_bytes(4, "big") + part

    assert text[:4] == "lm1r"
    raw = base64.urlsafe_b64decode(text[4:] + "=" * (-len(text[4:]) % 4))
    assert raw[:2] == b"\xe1\x04"
    info = prefixed(b"lumina field v1") + prefixed(field.encode())
    subkey = HKDF(SHA512(), 32, None, info).derive(key)
    context = b"lumina-ctx-1" + b"".join(
        prefixed(part)
        for part in (b"\x04", raw[2:6], deployment.encode(), field.encode())
    )
    plain = AESGCM(subkey).decrypt(raw[6:18], raw[18:], context)
    kind, value = plain[:1], plain[1:].decode()
    return json.dumps(value, ensure_ascii=False) if kind == b"s" else value


@pytest.mark.parametrize("vector", VECTORS, ids=lambda one: one["name"])
def test_known_answers_never_change(vector: dict[str, str]) -> None:
    """What version 1 wrote, every later version reads and writes the same."""
    key = bytes.fromhex(vector["key"])
    cipher = a_cipher(
        key,
        deployment=vector["deployment"],
        nonce=bytes.fromhex(vector["nonce"]),
    )
    sealed = json.dumps(vector["ciphertext"])

    assert cipher.encrypt(vector["field"], vector["value"]) == sealed
    assert cipher.decrypt(vector["field"], sealed) == vector["value"]
    assert (
        opened(key, vector["deployment"], vector["field"], vector["ciphertext"])
        == vector["value"]
    )


JSON_VALUES = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(JSON_VALUES, st.text(min_size=1), st.binary(min_size=12, max_size=12))
def test_every_value_comes_back_with_its_type(
    value: object, field: str, nonce: bytes
) -> None:
    """What is decrypted is what was encrypted, type included."""
    leaf = json.dumps(value)
    cipher = a_cipher(nonce=nonce)
    if isinstance(value, str) and (value.startswith("lm1r") or looks_masked(value)):
        return

    sealed = cipher.encrypt(field.encode("utf-8", "replace").decode(), leaf)
    field = field.encode("utf-8", "replace").decode()

    assert is_ciphertext(sealed)
    assert json.loads(cipher.decrypt(field, sealed)) == value


@pytest.mark.parametrize("leaf", ["1.10", "-0.0", "1e400", '{"b": 1,"a":[ ]}', "true"])
def test_what_is_no_string_comes_back_byte_for_byte(leaf: str) -> None:
    """Numbers, booleans, lists and objects keep their text."""
    cipher = a_cipher()

    assert cipher.decrypt("f", cipher.encrypt("f", leaf)) == leaf


def test_null_stays_null() -> None:
    """A backend must see that there is no value."""
    assert a_cipher().encrypt("f", "null") == "null"
    assert a_cipher().decrypt("f", "null") == "null"


@pytest.mark.parametrize("length", [0, 1, 2, 3, 30, 74, 150])
def test_the_length_of_a_ciphertext_is_known_before(length: int) -> None:
    """``ciphertext_length`` is exact, so that policies can be checked against it."""
    sealed = a_cipher().encrypt("f", json.dumps("x" * length))

    assert len(sealed) - 2 == ciphertext_length(length)


@pytest.mark.parametrize(
    ("leaf", "reason"),
    [
        ('"lm1rAAAA"', Reason.CIPHERTEXT_IN_REQUEST),
        ('"\\u006cm1rAAAA"', Reason.CIPHERTEXT_IN_REQUEST),
        (json.dumps(f"A{MARKER}"), Reason.MASK_IN_REQUEST),
        (f'"A{MARKER}"', Reason.MASK_IN_REQUEST),
        ('"\\ud800"', Reason.BODY_NOT_JSON),
    ],
    ids=["ciphertext", "escaped", "escaped mask", "mask", "lone surrogate"],
)
def test_what_no_client_can_mean_is_refused(leaf: str, reason: Reason) -> None:
    """Ciphertexts and masks sent by clients never reach the backend."""
    with pytest.raises(Refused) as refused:
        a_cipher().encrypt("user.name", leaf)

    assert refused.value.reason is reason


def test_flipping_any_bit_is_noticed() -> None:
    """No bit of a ciphertext can be changed."""
    cipher = a_cipher()
    sealed = json.loads(cipher.encrypt("f", '"Ada"'))
    raw = bytearray(base64.urlsafe_b64decode(sealed[4:] + "=" * (-len(sealed[4:]) % 4)))
    for bit in range(len(raw) * 8):
        raw[bit // 8] ^= 1 << bit % 8
        changed = "lm1r" + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        with pytest.raises(Refused) as refused:
            cipher.decrypt("f", json.dumps(changed))
        assert refused.value.reason is Reason.FIELD_UNDECRYPTABLE
        raw[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize(
    "text",
    ["lm1r", "lm1r!", "lm1rA", "lm1rAAAA", "lm1r" + "A" * 91, "lm1r\\u0041", "lm1r=="],
)
def test_what_cannot_be_a_ciphertext_has_the_same_one_reason(text: str) -> None:
    """Whatever is wrong, the answer does not say what."""
    with pytest.raises(Refused) as refused:
        a_cipher().decrypt("f", f'"{text}"')

    assert str(refused.value) == "field-undecryptable: The field is f."


def test_every_wrong_pairing_is_refused() -> None:
    """Moved to another deployment, field or key, a value does not open."""
    pairs = [
        (deployment, field, key)
        for deployment in ("a", "ab")
        for field in ("bc", "c")
        for key in (KEY, OTHER)
    ]
    for deployment, field, key in pairs:
        sealed = a_cipher(key, deployment=deployment).encrypt(field, '"x"')
        for other in pairs:
            reader = a_cipher(other[2], deployment=other[0])
            if other == (deployment, field, key):
                assert reader.decrypt(other[1], sealed) == '"x"'
                continue
            with pytest.raises(Refused):
                reader.decrypt(other[1], sealed)


def test_a_rotated_keyset_reads_old_values_and_writes_new_ones() -> None:
    """The first key encrypts, the others only decrypt."""
    old = a_cipher(OTHER).encrypt("f", '"x"')
    rotated = a_cipher(KEY, OTHER)

    assert rotated.decrypt("f", old) == '"x"'
    with pytest.raises(Refused):
        a_cipher(OTHER).decrypt("f", rotated.encrypt("f", '"x"'))


def test_plaintext_from_before_the_proxy_passes() -> None:
    """A value that is no ciphertext is returned as it is."""
    assert a_cipher().decrypt("f", '"Ada"') == '"Ada"'
    assert not is_ciphertext('"Ada"')


def encoded(*keys: bytes) -> str:
    """Return ENCRYPTION_KEY for keys."""
    return ",".join(base64.urlsafe_b64encode(key).decode() for key in keys)


def test_keys_are_read_with_and_without_padding() -> None:
    """URL-safe base64, padded or not, separated by commas."""
    padded = Keyset.from_text(f" {encoded(KEY, OTHER)} ")
    bare = Keyset.from_text(encoded(KEY).rstrip("="))

    assert len(padded.key_ids) == 2
    assert padded.primary == bare.primary == padded.key_ids[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "key 1 is not 32 bytes"),
        ("secretsecret", "key 1 is not 32 bytes"),
        (encoded(KEY) + ",", "key 2 is not 32 bytes"),
        (encoded(KEY, KEY), "a key is there twice"),
        (encoded(KEY[:31]), "key 1 is not 32 bytes"),
    ],
)
def test_bad_keys_are_refused_without_being_shown(text: str, message: str) -> None:
    """The message says which key is wrong, never what it holds."""
    with pytest.raises(ValueError, match=message) as error:
        Keyset.from_text(text)

    assert "secretsecret" not in str(error.value)


def test_a_keyset_needs_keys_of_the_right_length() -> None:
    """No keys, or short ones, are a programming error."""
    with pytest.raises(ValueError, match="needs a key"):
        Keyset([])
    with pytest.raises(ValueError, match="32 bytes"):
        Keyset([b"short"])


def test_a_keyset_shows_nothing() -> None:
    """No repr, no pickle, no copy."""
    keyset = Keyset([KEY])

    assert repr(keyset) == "<Keyset of 1>"
    assert keyset.aead(keyset.primary ^ 1, "f") is None
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="neither"):
            leak(keyset)


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        ('"Ada Lovelace"', f"A{MARKER} L{MARKER}"),
        ('"one two three four"', f"o{MARKER} t{MARKER} t{MARKER}"),
        ('"ada@example.org"', f"a{MARKER}@{MARKER}"),
        ('"@"', f"{MARKER}@{MARKER}"),
        ('" "', MARKER),
        ('""', ""),
        ("42", None),
        ("null", None),
        ("[1]", None),
        ("true", None),
    ],
)
def test_a_mask_keeps_first_letters_at_most(leaf: str, expected: str | None) -> None:
    """What a mask shows says nothing but a letter or two."""
    masked = json.loads(mask(leaf))

    assert masked == expected
    assert expected in (None, "") or looks_masked(masked)
