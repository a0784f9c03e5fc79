"""The keys of this process: one that encrypts, and those that still decrypt.

Rules of this file:

1. A root key never encrypts. Every use derives its own subkey with HKDF-SHA-512
   (RFC 5869), ``info = LP(purpose) || LP(logical field)``, where LP(x) is the length of
   x in four bytes, big endian, and then x: no two pairs can collide. The one exception
   reads what an older service wrote with the root key itself (``fernet``).
2. A key is known by its id, four bytes derived from it by HKDF-SHA-256. So the same
   text gives the same ids on every replica, and decryption selects by id. It never
   tries one key after the other: AES-GCM does not commit to its key.
3. Key material never leaves: no ``repr``, no pickle, no copy, no exception shows it.

Rotation: put the new key first and keep the old one behind it until nothing is stored
under it. A field that is looked up stays with the key that it names (``field_keys``).
On several replicas publish the new key behind the old one first, so that every replica
can read it before the first one writes under it.

Knows neither where keys come from nor what is encrypted with them.
"""

import base64
import re
from collections.abc import Sequence
from typing import NoReturn

from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
"""The length of a root key, and of a subkey for AES-256."""

_KEY_ID_INFO = b"lumina key id v1"
_KEY_TEXT = re.compile(r"[A-Za-z0-9_-]{43}=?")


def length_prefixed(value: bytes) -> bytes:
    """Return LP(value): its length as four bytes, big endian, and then itself."""
    return len(value).to_bytes(4, "big") + value


class Keyset:
    """One primary AES-256 root key and further ones that only decrypt.

    Args:
        roots: 32-byte keys; the first is the primary. Never empty.

    Attributes:
        primary: the id of the key that encrypts.

    Raises:
        ValueError: no key, a key of another length, or two keys with one id.
    """

    __slots__ = ("_roots", "primary")

    def __init__(self, roots: Sequence[bytes]) -> None:
        if not roots or any(len(root) != KEY_BYTES for root in roots):
            raise ValueError(f"a keyset is one or more keys of {KEY_BYTES} bytes")
        self._roots = {_key_id(root): root for root in roots}
        if len(self._roots) != len(roots):
            raise ValueError("two keys of the keyset are the same or share an id")
        self.primary = next(iter(self._roots))

    @classmethod
    def from_text(cls, text: str) -> "Keyset":
        """Read ENCRYPTION_KEY: 32 bytes in URL-safe base64, padded or not.

        Several are separated by commas: the first is the primary, the others only
        decrypt. White space around a key is ignored.

        Raises:
            ValueError: a sentence that says which key is wrong, and never holds it.
        """
        texts = [part.strip() for part in text.split(",")]
        return cls([_root(part, n) for n, part in enumerate(texts, start=1)])

    @property
    def key_ids(self) -> tuple[int, ...]:
        """Every key id, the primary's first."""
        return tuple(self._roots)

    def subkey(
        self, key_id: int, purpose: str, field: str, length: int = KEY_BYTES
    ) -> bytes:
        """Derive the key of one purpose and logical field.

        Args:
            key_id: which root key.
            purpose: what is done with it. One purpose has keys of one length, for a
                shorter one is the beginning of a longer one.
            field: the logical field.
            length: in bytes.

        Raises:
            KeyError: no key has this id.
        """
        info = length_prefixed(purpose.encode()) + length_prefixed(field.encode())
        hkdf = HKDF(hashes.SHA512(), length=length, salt=None, info=info)
        return hkdf.derive(self._roots[key_id])

    def fernet(self) -> MultiFernet:
        """Return what decrypts the tokens that an older service wrote with these keys.

        Fernet names no key, so each is tried; its MAC tells the right one apart.
        """
        return MultiFernet(
            [Fernet(base64.urlsafe_b64encode(root)) for root in self._roots.values()]
        )

    def __repr__(self) -> str:
        return "<Keyset>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        # pickle, copy.copy and copy.deepcopy all come through here.
        raise TypeError("a keyset is neither pickled nor copied")


def _key_id(root: bytes) -> int:
    hkdf = HKDF(hashes.SHA256(), length=4, salt=None, info=_KEY_ID_INFO)
    return int.from_bytes(hkdf.derive(root), "big")


def _root(text: str, n: int) -> bytes:
    if not _KEY_TEXT.fullmatch(text):
        raise ValueError(
            f"key {n} is not {KEY_BYTES} bytes in URL-safe base64 (43 characters of "
            "A-Z, a-z, 0-9, - and _, and at most one = after them)"
        )
    unpadded = text.rstrip("=")
    root = base64.urlsafe_b64decode(unpadded + "=")
    if base64.urlsafe_b64encode(root).decode() != unpadded + "=":
        # The last character carries two bits that are not part of the key.
        raise ValueError(f"key {n} is mistyped: its last character cannot end a key")
    return root
