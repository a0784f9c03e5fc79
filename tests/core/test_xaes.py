"""XAES-256-GCM: the specification's vectors, and what it refuses."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag

from proxy.core.xaes import NONCE_BYTES, XAES256GCM

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "xaes_256_gcm.json").read_text("utf-8")
)
NONCE = bytes(range(NONCE_BYTES))


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_published_vectors(case: dict[str, str]) -> None:
    """Both cases of the specification are reproduced and read back."""
    aead = XAES256GCM(bytes.fromhex(case["key"]))
    nonce, aad = bytes.fromhex(case["nonce"]), bytes.fromhex(case["aad"])
    plaintext = bytes.fromhex(case["plaintext"])

    assert aead.encrypt(nonce, plaintext, aad).hex() == case["ciphertext"]
    assert aead.decrypt(nonce, bytes.fromhex(case["ciphertext"]), aad) == plaintext


def stream() -> Callable[[int], bytes]:
    """Return the specification's random numbers: SHAKE-128 of nothing."""
    data = memoryview(hashlib.shake_128().digest(5_000_000))
    position = 0

    def take(count: int) -> bytes:
        nonlocal position
        position += count
        return bytes(data[position - count : position])

    return take


def test_accumulated_vectors() -> None:
    """Ten thousand random messages hash to the published digest."""
    take, digest = stream(), hashlib.shake_128()
    for _ in range(10_000):
        aead, nonce = XAES256GCM(take(32)), take(NONCE_BYTES)
        plaintext = take(take(1)[0])
        digest.update(aead.encrypt(nonce, plaintext, take(take(1)[0])))

    assert digest.hexdigest(32) == VECTORS["accumulated"]["10000"]


def test_every_flipped_bit_is_noticed() -> None:
    """Neither nonce nor ciphertext nor associated data nor key can be changed."""
    key = bytes(32)
    parts = [NONCE, XAES256GCM(key).encrypt(NONCE, b"Ada", b"field"), b"field", key]
    for at, part in enumerate(parts):
        for bit in range(len(part) * 8):
            changed = bytearray(part)
            changed[bit // 8] ^= 1 << bit % 8
            message = [*parts]
            message[at] = bytes(changed)
            nonce, sealed, data, other = message
            with pytest.raises(InvalidTag):
                XAES256GCM(other).decrypt(nonce, sealed, data)


@pytest.mark.parametrize("size", [0, 12, 23, 25])
def test_a_nonce_of_another_length_encrypts_nothing(size: int) -> None:
    """Only 24 bytes are a nonce."""
    for crypt in (XAES256GCM(bytes(32)).encrypt, XAES256GCM(bytes(32)).decrypt):
        with pytest.raises(ValueError, match="a nonce is 24 bytes"):
            crypt(bytes(size), bytes(16), b"")


@pytest.mark.parametrize("size", [0, 16, 24, 31, 64])
def test_a_key_of_another_length_is_refused(size: int) -> None:
    """There is no XAES for shorter keys."""
    with pytest.raises(ValueError, match="key size"):
        XAES256GCM(bytes(size))
