"""Keys: how they are read, what is derived from them, and that they stay inside."""

import base64
import copy
import hashlib
import hmac
import pickle

import pytest
from cryptography.fernet import Fernet

from proxy.core.keyset import (
    KEY_BYTES,
    Keyset,
    key_from_text,
    length_prefixed,
    text_of_key,
)

OLD, NEW = bytes(range(32)), bytes(range(32, 64))


def text_of(root: bytes) -> str:
    """Write a key as ENCRYPTION_KEY has it."""
    return base64.urlsafe_b64encode(root).decode()


def expand(digest: str, root: bytes, info: bytes, length: int) -> bytes:
    """Derive by HKDF (RFC 5869) for one block of output, with nothing but HMAC."""
    salt = bytes(hashlib.new(digest).digest_size)
    key = hmac.digest(salt, root, digest)
    return hmac.digest(key, info + b"\x01", digest)[:length]


@pytest.mark.parametrize(
    "text",
    [
        text_of(NEW),
        text_of(NEW).rstrip("="),
        f" {text_of(NEW)}\n",
        f"{text_of(NEW)},{text_of(OLD)}",
        f"{text_of(NEW).rstrip('=')} , {text_of(OLD)}",
    ],
)
def test_the_first_key_is_the_primary(text: str) -> None:
    """Keys are read with or without padding; the first one encrypts."""
    keyset = Keyset.from_text(text)
    assert keyset.primary == Keyset([NEW]).primary
    assert len(keyset.key_ids) == text.count(",") + 1
    assert keyset.key_ids[0] == keyset.primary


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "key 1 is not 32 bytes"),
        ("changeme", "key 1 is not 32 bytes"),
        (text_of(NEW) + ",", "key 2 is not 32 bytes"),
        (f"{text_of(NEW)},,{text_of(OLD)}", "key 2 is not 32 bytes"),
        (text_of(NEW[:31]), "key 1 is not 32 bytes"),
        (text_of(NEW + b"x"), "key 1 is not 32 bytes"),
        (text_of(NEW) + "=", "key 1 is not 32 bytes"),
        (base64.b64encode(b"\xff" * 32).decode(), "key 1 is not 32 bytes"),
        (text_of(NEW)[:20] + "\n" + text_of(NEW)[20:], "key 1 is not 32 bytes"),
        (text_of(NEW)[:-2] + "9", "key 1 is mistyped"),
        (f"{text_of(NEW)},{text_of(NEW).rstrip('=')}", "two keys of the keyset"),
    ],
)
def test_a_bad_key_is_explained_and_never_shown(text: str, sentence: str) -> None:
    """The message says which key is wrong and holds no piece of any."""
    with pytest.raises(ValueError, match=sentence) as caught:
        Keyset.from_text(text)
    pieces = [text[at : at + 6] for at in range(len(text) - 5)]
    assert not [piece for piece in pieces if piece in str(caught.value)]


@pytest.mark.parametrize("roots", [[], [b""], [NEW, OLD[:-1]], [NEW * 2]])
def test_a_keyset_is_keys_of_one_length(roots: list[bytes]) -> None:
    """No key, and a key of another length, are refused."""
    with pytest.raises(ValueError, match="one or more keys of 32 bytes"):
        Keyset(roots)


def test_a_key_is_known_by_four_derived_bytes() -> None:
    """The id is HKDF-SHA-256 of the key, so every replica finds the same."""
    derived = expand("sha256", NEW, b"lumina key id v1", 4)
    assert Keyset([NEW]).primary == int.from_bytes(derived, "big")


def test_a_subkey_is_hkdf_of_purpose_and_field() -> None:
    """Subkeys are HKDF-SHA-512 with both names, each with its length in front."""
    keyset = Keyset([NEW])
    info = b"\0\0\0\x06random\0\0\0\x09user.name"
    expected = expand("sha512", NEW, info, KEY_BYTES)
    assert keyset.subkey(keyset.primary, "random", "user.name") == expected


def test_every_purpose_field_and_key_has_its_own_subkey() -> None:
    """No two ways to cut the names in two give the same key."""
    keyset = Keyset([NEW, OLD])
    uses = [("ab", "c"), ("a", "bc"), ("", "abc"), ("abc", ""), ("c", "ab")]
    subkeys = {keyset.subkey(i, *use) for i in keyset.key_ids for use in uses}
    assert len(subkeys) == len(uses) * 2
    assert not subkeys & {NEW, OLD}


@pytest.mark.parametrize("length", [16, 48, 64])
def test_a_subkey_is_as_long_as_asked_for(length: int) -> None:
    """AES-SIV takes two keys in one, and HMAC one of its own length."""
    keyset = Keyset([NEW])
    info = b"\0\0\0\x03siv\0\0\0\x09user.name"
    expected = expand("sha512", NEW, info, length)

    assert keyset.subkey(keyset.primary, "siv", "user.name", length) == expected


def test_an_unknown_key_derives_nothing() -> None:
    """A key id that is not in the keyset is a KeyError."""
    with pytest.raises(KeyError):
        Keyset([NEW]).subkey(0, "random", "user.name")


def test_lengths_come_first() -> None:
    """LP(x) is the length in four bytes, big endian, and x."""
    assert length_prefixed(b"") == b"\0\0\0\0"
    assert length_prefixed(b"x" * 258) == b"\0\0\1\2" + b"x" * 258


def test_a_keyset_shows_nothing() -> None:
    """Neither its repr nor its attributes by name show key material."""
    keyset = Keyset([NEW])
    assert f"{keyset!r} {keyset} {[keyset]}" == "<Keyset> <Keyset> [<Keyset>]"
    assert not hasattr(keyset, "__dict__")


@pytest.mark.parametrize(
    "take", [pickle.dumps, copy.copy, copy.deepcopy], ids=lambda take: take.__name__
)
def test_a_keyset_stays_where_it_is(take: object) -> None:
    """It is neither pickled nor copied."""
    assert callable(take)
    with pytest.raises(TypeError, match="neither pickled nor copied"):
        take(Keyset([NEW]))


def test_fernet_tokens_of_every_key_are_read() -> None:
    """What an older service wrote with a root key itself decrypts."""
    for root in (NEW, OLD):
        token = Fernet(base64.urlsafe_b64encode(root)).encrypt(b"Ada")

        assert Keyset([NEW, OLD]).fernet().decrypt(token) == b"Ada"


def test_a_tenants_keys_are_derived_from_the_shared_ones() -> None:
    """Other keys with other ids, in the same order; the shared ones only decrypt."""
    shared = Keyset([NEW, OLD])
    north = shared.derived("north")
    roots = [shared.subkey(i, "lumina tenant v1", "north") for i in shared.key_ids]

    assert north.key_ids == (*Keyset(roots).key_ids, *shared.key_ids)
    assert north.shared == set(shared.key_ids)
    assert north.encrypts
    assert [north.named(key_id) for key_id in shared.key_ids] == list(
        Keyset(roots).key_ids
    )


def test_a_key_is_named_or_not_there() -> None:
    """A policy names keys by their ids."""
    keyset = Keyset([NEW])

    assert keyset.named(keyset.primary) == keyset.primary
    assert keyset.named(1) is None


def test_older_keys_of_the_same_tenant_decrypt() -> None:
    """They come behind, and none is lost or there twice."""
    keyset = Keyset([NEW], lookups=7, encrypts=False, older=Keyset([NEW, OLD]))

    assert keyset.key_ids == Keyset([NEW, OLD]).key_ids
    assert (keyset.lookups, keyset.encrypts, keyset.shared) == (7, False, frozenset())


def test_a_tenants_key_is_not_a_shared_one() -> None:
    """Or a ciphertext would not say for whom it was made."""
    with pytest.raises(ValueError, match="the same or share an id"):
        Keyset([NEW], shared=Keyset([OLD, NEW]))


def test_a_key_is_written_as_it_is_read() -> None:
    """For whoever puts it in a safe."""
    assert key_from_text(text_of_key(NEW), 1) == NEW
