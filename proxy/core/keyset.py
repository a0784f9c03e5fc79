"""The keys that protected fields are encrypted under.

A keyset has one primary key, which encrypts, and any number of others, which only
decrypt: that is all a rotation needs. Every ciphertext names its key, so none is ever
tried on a value it did not make. No key is ever used itself: each logical field has
its own, derived by HKDF-SHA-512 (RFC 5869).

A keyset shows nothing: no repr, no pickle, no copy.
"""

import base64
import binascii
import re
from typing import NoReturn

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
_KEY = re.compile(r"[A-Za-z0-9_-]{43}=?").fullmatch


def length_prefixed(*parts: bytes) -> bytes:
    """Join parts so that no two lists of parts give the same bytes."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _derive(key: bytes, info: bytes, length: int = KEY_BYTES) -> bytes:
    return HKDF(algorithm=SHA512(), length=length, salt=None, info=info).derive(key)


class Keyset:
    """Root keys by id.

    Args:
        keys: 32 bytes each, the primary first; never empty.

    Attributes:
        primary: the id of the key that encrypts.

    Raises:
        ValueError: there is none, one has another length, or one is there twice.
    """

    __slots__ = ("_fields", "_keys", "primary")

    def __init__(self, keys: list[bytes]) -> None:
        if not keys:
            raise ValueError("a keyset needs a key")
        self._keys: dict[int, bytes] = {}
        self._fields: dict[tuple[int, str], AESGCM] = {}
        for key in keys:
            if len(key) != KEY_BYTES:
                raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
            key_id = key_id_of(key)
            if key_id in self._keys:
                raise ValueError("a key is there twice")
            self._keys[key_id] = key
        self.primary = next(iter(self._keys))

    @classmethod
    def from_text(cls, text: str) -> "Keyset":
        """Read ENCRYPTION_KEY: URL-safe base64 of 32 bytes, padded or not.

        Several keys are separated by commas; the first is the primary.

        Raises:
            ValueError: it is something else; the message never holds any of it.
        """
        keys = []
        for number, part in enumerate(text.split(","), start=1):
            word = part.strip()
            if not _KEY(word):
                raise ValueError(f"key {number} is not 32 bytes in URL-safe base64")
            try:
                keys.append(base64.urlsafe_b64decode(word.rstrip("=") + "="))
            except binascii.Error:
                raise ValueError(f"key {number} is no base64") from None
        return cls(keys)

    @property
    def key_ids(self) -> tuple[int, ...]:
        """Every key's id, the primary first."""
        return tuple(self._keys)

    def primary_aead(self, field: str) -> AESGCM:
        """Return the cipher of a field under the primary key."""
        return self._aead(self.primary, field, self._keys[self.primary])

    def aead(self, key_id: int, field: str) -> AESGCM | None:
        """Return the cipher of a field under a key, or None for an unknown key.

        Fields come from the policy, so what is remembered here is bounded.
        """
        key = self._keys.get(key_id)
        return None if key is None else self._aead(key_id, field, key)

    def _aead(self, key_id: int, field: str, key: bytes) -> AESGCM:
        aead = self._fields.get((key_id, field))
        if aead is None:
            info = length_prefixed(b"lumina field v1", field.encode())
            aead = self._fields[key_id, field] = AESGCM(_derive(key, info))
        return aead

    def __repr__(self) -> str:
        """Show how many keys there are, and nothing of them."""
        return f"<Keyset of {len(self._keys)}>"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise TypeError("a keyset is neither pickled nor copied")


def key_id_of(key: bytes) -> int:
    """Return the id of a key: 32 bits that say nothing else about it."""
    derived = HKDF(
        algorithm=SHA256(), length=4, salt=None, info=b"lumina key id v1"
    ).derive(key)
    return int.from_bytes(derived, "big")
