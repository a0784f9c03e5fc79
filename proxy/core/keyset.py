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
can read it before the first one writes under it. With a keystore (``key_records``) all
of that happens by itself.

A tenant has keys of its own, derived from the shared ones where no keystore has them::

    tenant's root key = subkey of purpose "lumina tenant v1", the tenant for the field

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
_TENANT = "lumina tenant v1"
_KEY_TEXT = re.compile(r"[A-Za-z0-9_-]{43}=?")


def length_prefixed(value: bytes) -> bytes:
    """Return LP(value): its length as four bytes, big endian, and then itself."""
    return len(value).to_bytes(4, "big") + value


class UnknownKeyError(KeyError):
    """A ciphertext names a key that is not there."""


class Keyset:
    """One primary AES-256 root key and further ones that only decrypt.

    Args:
        roots: 32-byte keys; the first is the primary. Never empty.
        lookups: the id of the key that fields stay with whose equality must last; None
            where each such field has to name one.
        encrypts: whether the primary key encrypts already: a tenant's first one waits
            until every replica knows it.
        older: keys of the same tenant that only decrypt, too; those that are among
            ``roots`` already are no mistake.
        shared: keys that only decrypt, and what was encrypted for no tenant.

    Attributes:
        primary: the id of the key that encrypts.
        lookups: as given.
        encrypts: as given.
        shared: the ids of the shared keys.

    Raises:
        ValueError: no key, a key of another length, or two keys with one id.
    """

    __slots__ = ("_aliases", "_roots", "encrypts", "lookups", "primary", "shared")

    _roots: dict[int, bytes]

    def __init__(
        self,
        roots: Sequence[bytes],
        *,
        lookups: int | None = None,
        encrypts: bool = True,
        older: "Keyset | None" = None,
        shared: "Keyset | None" = None,
    ) -> None:
        if not roots or any(len(root) != KEY_BYTES for root in roots):
            raise ValueError(f"a keyset is one or more keys of {KEY_BYTES} bytes")
        own = {key_id_of(root): root for root in roots}
        more = {} if shared is None else shared._roots  # noqa: SLF001 - of this class
        if len(own) != len(roots) or not own.keys().isdisjoint(more):
            raise ValueError("two keys of the keyset are the same or share an id")
        readers = {} if older is None else older._roots  # noqa: SLF001 - likewise
        self._roots = {**own, **readers, **more}
        self._aliases: dict[int, int] = {}
        self.primary = next(iter(own))
        self.lookups = lookups
        self.encrypts = encrypts
        self.shared = frozenset(more)

    @classmethod
    def from_text(cls, text: str) -> "Keyset":
        """Read ENCRYPTION_KEY: 32 bytes in URL-safe base64, padded or not.

        Several are separated by commas: the first is the primary, the others only
        decrypt. White space around a key is ignored.

        Raises:
            ValueError: a sentence that says which key is wrong, and never holds it.
        """
        texts = [part.strip() for part in text.split(",")]
        return cls([key_from_text(part, n) for n, part in enumerate(texts, start=1)])

    @property
    def key_ids(self) -> tuple[int, ...]:
        """Every key id, the primary's first."""
        return tuple(self._roots)

    def named(self, key_id: int) -> int | None:
        """Return the key that a policy means by an id; None when there is none.

        A policy names shared keys; a tenant's own stand for those they derive from.
        """
        key_id = self._aliases.get(key_id, key_id)
        return key_id if key_id in self._roots else None

    def derived(self, tenant: str) -> "Keyset":
        """Return the keyset of a tenant that no keystore has keys for."""
        roots = self.derived_roots(tenant)
        keyset = Keyset(roots, shared=self)
        keyset._aliases = dict(zip(self._roots, map(key_id_of, roots), strict=True))
        return keyset

    def derived_roots(self, tenant: str) -> list[bytes]:
        """Return the keys of a tenant, for a keystore to take them over."""
        return [self.subkey(key_id, _TENANT, tenant) for key_id in self._roots]

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
            UnknownKeyError: no key has this id.
        """
        if key_id not in self._roots:
            raise UnknownKeyError(key_id)
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


def key_id_of(root: bytes) -> int:
    """Return the id of a root key, which tells nothing about it."""
    hkdf = HKDF(hashes.SHA256(), length=4, salt=None, info=_KEY_ID_INFO)
    return int.from_bytes(hkdf.derive(root), "big")


def text_of_key(root: bytes) -> str:
    """Return a key as ``key_from_text`` reads it."""
    return base64.urlsafe_b64encode(root).decode()


def key_from_text(text: str, n: int) -> bytes:
    """Read 32 bytes in URL-safe base64.

    Args:
        text: without white space around it.
        n: which key it is, for the sentence about it.

    Raises:
        ValueError: a sentence for people that never holds the key.
    """
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
