"""The cipher: wire format, round trips, and everything that must not decrypt."""

import base64
import hashlib
import hmac
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher as Primitive
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.cipher import PREFIX, Cipher, ciphertext_length, is_ciphertext
from proxy.core.errors import Refused
from proxy.core.keyset import Keyset
from proxy.core.masks import mask
from proxy.core.reasons import Reason

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "cipher_v1.json").read_text("utf-8")
)
CASES: list[dict[str, str]] = VECTORS["cases"]

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
FIELD = "user.name"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def nonces() -> Callable[[], bytes]:
    """Return a source of nonces that counts."""
    return (n.to_bytes(12, "big") for n in itertools.count()).__next__


def cipher(*roots: bytes, deployment: str = "lms") -> Cipher:
    """Build a cipher; the first key encrypts."""
    return Cipher(Keyset(list(roots or (NEW,))), deployment, nonces())


def refused(cipher: Cipher, leaf: str, field: str = FIELD) -> tuple[Reason, str]:
    """Return the reason and detail of a leaf that must not decrypt."""
    with pytest.raises(Refused) as caught:
        cipher.decrypt(field, leaf)
    return caught.value.reason, caught.value.detail


UNDECRYPTABLE = (Reason.FIELD_UNDECRYPTABLE, f"The field is {FIELD}.")


# A second implementation, from the format's description and nothing of ours.


def hkdf(digest: str, root: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 without salt, for at most one block."""
    salt = bytes(hashlib.new(digest).digest_size)
    key = hmac.digest(salt, root, digest)
    return hmac.digest(key, info + b"\x01", digest)[:length]


def lp(*parts: bytes) -> bytes:
    """Put the length before each part."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def open_by_hand(root: bytes, deployment: str, field: str, leaf: str) -> bytes:
    """Decrypt a ciphertext of format 1 to its type byte and value."""
    text = json.loads(leaf)
    assert text[:4] == "lm1r"
    message = base64.urlsafe_b64decode(text[4:] + "=" * (-len(text[4:]) % 4))
    version, suite, key_id = message[:1], message[1:2], message[2:6]
    assert (version, suite) == (b"\xe1", b"\x04")
    assert key_id == hkdf("sha256", root, b"lumina key id v1", 4)
    key = hkdf("sha512", root, lp(b"lumina field v1", field.encode()), 32)
    nonce, sealed, tag = message[6:18], message[18:-16], message[-16:]
    gcm = Primitive(algorithms.AES(key), modes.GCM(nonce, tag)).decryptor()
    bound = lp(suite, key_id, deployment.encode(), field.encode())
    gcm.authenticate_additional_data(b"lumina-ctx-1" + bound)
    return gcm.update(sealed) + gcm.finalize()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_wire_format_never_changes(case: dict[str, str]) -> None:
    """The golden file is reproduced, read back, and read by other code."""
    root = bytes.fromhex(case["key"])
    nonce = bytes.fromhex(case["nonce"])
    ours = Cipher(Keyset([root]), case["deployment"], lambda: nonce)
    assert ours.encrypt(case["field"], case["leaf"]) == case["ciphertext"]
    restored = ours.decrypt(case["field"], case["ciphertext"])
    assert json.loads(restored) == json.loads(case["leaf"])
    by_hand = open_by_hand(root, case["deployment"], case["field"], case["ciphertext"])
    assert by_hand == case["plaintext"].encode()


# Round trips.

_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
_values = st.recursive(
    _scalars | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=10,
)


def is_refused(value: object) -> bool:
    """Tell whether a value is one that no client may send."""
    return isinstance(value, str) and (value.startswith(PREFIX) or "•••" in value)


@given(value=_values.filter(lambda v: not is_refused(v)), ascii_only=st.booleans())
def test_decrypting_restores_type_and_value(*, value: Any, ascii_only: bool) -> None:
    """Every JSON value comes back; what is no string comes back byte for byte."""
    leaf = json.dumps(value, ensure_ascii=ascii_only)
    encrypted = cipher().encrypt(FIELD, leaf)
    restored = cipher().decrypt(FIELD, encrypted)
    assert json.loads(restored) == value
    assert isinstance(value, str) or restored == leaf
    assert value is None or is_ciphertext(encrypted)


@pytest.mark.parametrize(
    "leaf",
    [
        "1.10",
        "-0",
        "1E400",
        "9" * 5000,
        "true",
        "[ 1,\t2 ]",
        '{"b":1, "a" : "\\u00e9"}',
    ],
)
def test_other_values_keep_their_spelling(leaf: str) -> None:
    """Numbers, order and white space inside a protected value are the sender's."""
    assert cipher().decrypt(FIELD, cipher().encrypt(FIELD, leaf)) == leaf


@pytest.mark.parametrize(
    ("leaf", "restored"),
    [
        (r'"\u0041\/"', '"A/"'),
        (r'"\u00e9\ud83d\ude00"', '"é😀"'),
        (r'"\u0000\u001f\n\"\\"', r'"\u0000\u001f\n\"\\"'),
        ('"\u2028\x7f"', '"\u2028\x7f"'),
    ],
)
def test_strings_are_written_with_the_fewest_escapes(leaf: str, restored: str) -> None:
    """A string keeps its value; its escapes are those that JSON demands."""
    assert cipher().decrypt(FIELD, cipher().encrypt(FIELD, leaf)) == restored


def test_null_stays_null() -> None:
    """An absent value has no ciphertext, and takes no nonce."""
    unused = Cipher(Keyset([NEW]), "lms", lambda: pytest.fail("a nonce was taken"))
    assert unused.encrypt(FIELD, "null") == "null"
    assert unused.decrypt(FIELD, "null") == "null"


@given(st.text().filter(lambda text: not is_refused(text)))
def test_the_length_is_known_beforehand(text: str) -> None:
    """A ciphertext is exactly as long as was said, quotes aside."""
    encrypted = cipher().encrypt(FIELD, json.dumps(text))
    assert len(encrypted) - 2 == ciphertext_length(len(text.encode()))


def test_equal_values_have_different_ciphertexts() -> None:
    """Every call takes a nonce of its own."""
    one = cipher()
    assert len({one.encrypt(FIELD, '"Ada"') for _ in range(100)}) == 100


@pytest.mark.parametrize("size", [0, 8, 11, 13, 16])
def test_a_nonce_of_another_length_encrypts_nothing(size: int) -> None:
    """A broken source of nonces is an error and never a strange ciphertext."""
    with pytest.raises(ValueError, match="a nonce is 12 bytes"):
        Cipher(Keyset([NEW]), "lms", lambda: bytes(size)).encrypt(FIELD, "1")


# What a client may not send.


@pytest.mark.parametrize(
    "leaf", ['"lm1r"', '"lm1rAAAA"', r'"\u006cm1r"', CASES[0]["ciphertext"]]
)
def test_ciphertext_from_a_client_is_refused(leaf: str) -> None:
    """Nobody has somebody else's ciphertext stored as his own, to read it back."""
    with pytest.raises(Refused) as caught:
        cipher().encrypt(FIELD, leaf)
    assert caught.value.reason is Reason.CIPHERTEXT_IN_REQUEST
    assert caught.value.detail == f"The field is {FIELD}."


@pytest.mark.parametrize(
    "leaf", ['"A•••"', '"x ••• y"', r'"\u2022\u2022\u2022"', mask('"a@b.c"')]
)
def test_a_mask_from_a_client_is_refused(leaf: str) -> None:
    """A masked value that comes back does not overwrite the real one."""
    with pytest.raises(Refused) as caught:
        cipher().encrypt(FIELD, leaf)
    assert caught.value.reason is Reason.MASK_IN_REQUEST
    assert caught.value.detail == f"The field is {FIELD}."


# What must not decrypt.


def test_every_flipped_bit_is_noticed() -> None:
    """No bit of the message, and no character of the text, can be changed."""
    leaf = cipher().encrypt(FIELD, '"Ada"')
    body = leaf[1 + len(PREFIX) : -1]
    message = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    for bit in range(len(message) * 8):
        flipped = bytearray(message)
        flipped[bit // 8] ^= 1 << bit % 8
        text = base64.urlsafe_b64encode(flipped).decode().rstrip("=")
        assert refused(cipher(), f'"{PREFIX}{text}"') == UNDECRYPTABLE
    for at, other in itertools.product(range(len(body)), ALPHABET):
        if other != body[at]:
            changed = f"{body[:at]}{other}{body[at + 1 :]}"
            assert refused(cipher(), f'"{PREFIX}{changed}"') == UNDECRYPTABLE


def test_every_shortened_or_lengthened_ciphertext_is_refused() -> None:
    """A ciphertext is whole or it is nothing."""
    leaf = cipher().encrypt(FIELD, '"Ada"')
    for length in range(1 + len(PREFIX), len(leaf) - 1):
        assert refused(cipher(), leaf[:length] + '"') == UNDECRYPTABLE
    for tail in ("A", "AA", "=", "==", " ", "\\n", "+", "é", "\\ud800", "\\u0000"):
        assert refused(cipher(), f'{leaf[:-1]}{tail}"') == UNDECRYPTABLE


def test_a_ciphertext_belongs_to_its_deployment_and_field() -> None:
    """Each pairing decrypts what it encrypted, and nothing else does."""
    pairs = list(itertools.product(["a", "ab", ""], ["b.c", "c", "bb.c"]))
    for at, (deployment, field) in enumerate(pairs):
        leaf = cipher(deployment=deployment).encrypt(field, '"Ada"')
        for other, (where, what) in enumerate(pairs):
            reader = cipher(deployment=where)
            if other == at:
                assert reader.decrypt(what, leaf) == '"Ada"'
            else:
                reason, detail = refused(reader, leaf, what)
                assert (reason, detail) == (UNDECRYPTABLE[0], f"The field is {what}.")


def test_the_associated_data_alone_holds_a_ciphertext_to_its_place() -> None:
    """The deployment is in no key, so that only the associated data can refuse it."""
    case = CASES[0]
    root = bytes.fromhex(case["key"])
    with pytest.raises(InvalidTag):
        open_by_hand(root, "other", case["field"], case["ciphertext"])


def test_an_old_key_decrypts_and_the_new_one_encrypts() -> None:
    """A key can be replaced while values under the old one are still stored."""
    stored = cipher(OLD).encrypt(FIELD, '"Ada"')
    both = cipher(NEW, OLD)
    assert both.decrypt(FIELD, stored) == '"Ada"'
    renewed = both.encrypt(FIELD, '"Ada"')
    assert cipher(NEW).decrypt(FIELD, renewed) == '"Ada"'
    assert refused(cipher(OLD), renewed) == UNDECRYPTABLE
    assert refused(cipher(NEW), stored) == UNDECRYPTABLE


def test_an_unknown_type_of_plaintext_is_refused() -> None:
    """What an authentic ciphertext of a later format holds is not guessed."""
    keyset = Keyset([NEW])
    key_id = keyset.primary.to_bytes(4, "big")
    key = keyset.subkey(keyset.primary, "lumina field v1", FIELD)
    gcm = Primitive(algorithms.AES(key), modes.GCM(bytes(12))).encryptor()
    bound = lp(b"\x04", key_id, b"lms", FIELD.encode())
    gcm.authenticate_additional_data(b"lumina-ctx-1" + bound)
    sealed = gcm.update(b"zAda") + gcm.finalize() + gcm.tag
    message = b"\xe1\x04" + key_id + bytes(12) + sealed
    text = base64.urlsafe_b64encode(message).decode().rstrip("=")
    assert refused(cipher(), f'"{PREFIX}{text}"') == UNDECRYPTABLE


@pytest.mark.parametrize(
    "leaf", ['"Ada"', '""', '"lm1"', '"Lm1rA"', '" lm1rA"', "0", "null", '["lm1rA"]']
)
def test_older_plaintext_passes(leaf: str) -> None:
    """What was stored before the proxy came is returned as it is."""
    assert not is_ciphertext(leaf)
    assert cipher().decrypt(FIELD, leaf) == leaf


def test_a_backend_may_escape_a_ciphertext() -> None:
    """A ciphertext is one however its characters are spelled."""
    leaf = cipher().encrypt(FIELD, '"Ada"')
    spelled = "".join(f"\\u{ord(one):04x}" for one in leaf[1:-1])
    assert is_ciphertext(f'"{spelled}"')
    assert cipher().decrypt(FIELD, f'"{spelled}"') == '"Ada"'
