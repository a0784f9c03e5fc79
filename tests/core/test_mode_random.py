"""Mode random: lengths, chunks, and that no two ciphertexts are the same."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given, settings

from proxy.bindings import nonces
from proxy.core.cipher import NONCE_BYTES
from proxy.core.mode_random import ciphertext_length
from proxy.core.reasons import Reason
from proxy.core.undecryptable import Undecryptable
from tests.cipher_builders import (
    FIELD,
    a_cipher,
    a_field,
    is_refused,
    not_encrypted,
    texts,
)

KINDS = ("committing", "compact")


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)  # the first use of a primitive takes longer
@given(text=texts())
def test_the_length_is_known_beforehand(kind: str, text: str) -> None:
    """A ciphertext is exactly as long as was said, quotes aside."""
    encrypted = a_cipher(a_field(kind)).encrypt(FIELD, json.dumps(text))
    expected = ciphertext_length(len(text.encode()), compact=kind == "compact")

    assert len(encrypted) - 2 == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [16_382, 16_383, 16_384, 32_767, 32_768, 100_000])
def test_chunks_begin_where_they_should(kind: str, size: int) -> None:
    """Values around and above 16 KiB come back, and are as long as was said."""
    leaf = json.dumps("x" * size)
    ours = a_cipher(a_field(kind))
    encrypted = ours.encrypt(FIELD, leaf)

    assert ours.decrypt(FIELD, encrypted) == leaf
    assert len(encrypted) - 2 == ciphertext_length(size, compact=kind == "compact")


@pytest.mark.parametrize("size", [16_383, 50_000])
def test_chunks_cannot_be_cut_or_exchanged(size: int) -> None:
    """A long message is whole and in order, or it is refused."""
    ours = a_cipher(a_field())
    leaf = ours.encrypt(FIELD, json.dumps("x" * size))
    message = base64.urlsafe_b64decode(leaf[5:-1] + "==")
    head, chunk = 6 + 24 + 32, 16 * 1024 + 16
    chunks = [message[at : at + chunk] for at in range(head, len(message), chunk)]
    for others in (chunks[:-1], chunks[1:], chunks[::-1], [*chunks, chunks[-1]]):
        changed = base64.urlsafe_b64encode(message[:head] + b"".join(others))

        assert is_refused(ours, f'"lm1r{changed.decode().rstrip("=")}"')


@pytest.mark.parametrize("kind", KINDS)
def test_equal_values_have_different_ciphertexts(kind: str) -> None:
    """Ten thousand encryptions of one value have ten thousand results."""
    ours = a_cipher(a_field(kind))

    assert len({ours.encrypt(FIELD, '"Ada"') for _ in range(10_000)}) == 10_000


def test_a_million_nonces_are_unique() -> None:
    """The source of nonces that the proxy uses repeats none, across its refills."""
    source = nonces()
    drawn = {next(source) for _ in range(1_000_000)}

    assert len(drawn) == 1_000_000
    assert {len(nonce) for nonce in drawn} == {NONCE_BYTES}


@pytest.mark.parametrize("size", [0, 12, 23, 25])
def test_a_nonce_of_another_length_encrypts_nothing(size: int) -> None:
    """A broken source of nonces is an error and never a strange ciphertext."""
    ours = a_cipher(a_field("compact"), nonce=lambda: bytes(size))
    with pytest.raises(ValueError, match="a nonce is 24 bytes"):
        ours.encrypt(FIELD, "1")


def test_half_a_character_encrypts_nothing() -> None:
    """What has no UTF-8 is an error, for nobody could say what it would become."""
    with pytest.raises(UnicodeEncodeError):
        a_cipher().encrypt(FIELD, r'"\ud800"')


def test_what_the_first_generation_wrote_is_read() -> None:
    """Suite 0x04 decrypts; the golden file has more of it."""
    path = Path(__file__).parents[1] / "vectors" / "cipher_v1.json"
    case = json.loads(path.read_text("utf-8"))["cases"][0]
    root = bytes.fromhex(case["key"])
    ours = a_cipher(
        a_field(name=case["field"]), roots=(root,), deployment=case["deployment"]
    )

    assert ours.decrypt(case["field"], case["ciphertext"]) == case["leaf"]


@pytest.mark.parametrize("kind", KINDS)
def test_too_long_a_value_is_refused(kind: str) -> None:
    """What would not fit is not encrypted, and plaintext is left alone."""
    ours = a_cipher(a_field(kind, max_bytes=3))

    assert not_encrypted(ours, '"Adam"')[0] is Reason.FIELD_UNENCRYPTABLE
    assert ours.decrypt(FIELD, '"Adam"') == '"Adam"'


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_stays_with_what_it_is_bound_to(kind: str) -> None:
    """Who it was written for, or nobody, and no one else."""
    ours = a_cipher(a_field(kind))
    people = (b"", b"ada", b"bob")
    sealed = {bound: ours.encrypt(FIELD, '"Ada"', bound) for bound in people}
    for mine in people:
        assert ours.decrypt(FIELD, sealed[mine], mine) == '"Ada"'
        for other in people:
            if other != mine:
                with pytest.raises(Undecryptable):
                    ours.decrypt(FIELD, sealed[other], mine)
