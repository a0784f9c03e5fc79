"""The primitives that ``cryptography`` brings, held to vectors published by others.

So an upgrade of the library, or of the OpenSSL inside it, cannot change what stored
values mean without a test that says so.
"""

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Case = dict[str, Any]


def cases(name: str) -> list[Case]:
    """Return the cases of a file of vectors."""
    path = Path(__file__).parents[1] / "vectors" / name
    found: list[Case] = json.loads(path.read_text("utf-8"))["cases"]
    return found


def raw(case: Case, *names: str) -> list[bytes]:
    """Return members of a case, which are hex."""
    return [bytes.fromhex(case[name]) for name in names]


@pytest.mark.parametrize("case", cases("aes_gcm.json"), ids=lambda case: case["id"])
def test_aes_gcm(case: Case) -> None:
    """AES-256-GCM encrypts and decrypts what is valid and refuses the rest."""
    key, iv, aad, msg, ct, tag = raw(case, "key", "iv", "aad", "msg", "ct", "tag")
    if case["result"] == "valid":
        assert AESGCM(key).encrypt(iv, msg, aad) == ct + tag
        assert AESGCM(key).decrypt(iv, ct + tag, aad) == msg
    else:
        with pytest.raises(InvalidTag):
            AESGCM(key).decrypt(iv, ct + tag, aad)


@pytest.mark.parametrize("case", cases("aes_siv.json"), ids=lambda case: case["id"])
def test_aes_siv(case: Case) -> None:
    """AES-256-SIV encrypts and decrypts what is valid and refuses the rest."""
    key, aad, msg, ct = raw(case, "key", "aad", "msg", "ct")
    if case["result"] == "valid":
        assert AESSIV(key).encrypt(msg, [aad]) == ct
        assert AESSIV(key).decrypt(ct, [aad]) == msg
    else:
        with pytest.raises(InvalidTag):
            AESSIV(key).decrypt(ct, [aad])


@pytest.mark.parametrize(
    ("algorithm", "case"),
    [
        pytest.param(algorithm, case, id=f"{algorithm.name}-{case['id']}")
        for algorithm in (hashes.SHA256(), hashes.SHA512())
        for case in cases(f"hkdf_{algorithm.name}.json")
    ],
)
def test_hkdf(algorithm: hashes.HashAlgorithm, case: Case) -> None:
    """HKDF derives what RFC 5869 says, and no more than 255 blocks."""
    ikm, salt, info, okm = raw(case, "ikm", "salt", "info", "okm")
    if case["result"] == "valid":
        assert HKDF(algorithm, case["size"], salt, info).derive(ikm) == okm
    else:
        with pytest.raises(ValueError, match="Cannot derive keys larger than"):
            HKDF(algorithm, case["size"], salt, info)


@pytest.mark.parametrize("case", cases("cobblestone_256.json"), ids=lambda c: c["id"])
def test_chunked_encryption(case: Case) -> None:
    """Whole and authentic messages decrypt; a wrong commitment, a cut do not."""
    key, context, compressed = raw(case, "key", "ctx", "ct")
    message = zlib.decompress(compressed)

    def decrypt() -> bytes:
        decryptor = Cobblestone256Decryptor(key, context)
        return decryptor.update(message) + decryptor.finalize()

    if case["result"] == "valid":
        payload = decrypt()
        assert len(payload) == case["msgLength"]
        assert hashlib.sha512(payload).hexdigest() == case["msgSha512"]
    else:
        with pytest.raises((InvalidTag, ValueError)):
            decrypt()
