r"""Mode ``random``: another ciphertext every time, for values nobody looks up.

Three suites, told apart by the second byte of the message (``ciphertext``)::

    0x01  committing            6              30                62          n
          +--------------------+--------------+-----------------+-----------+
          | header             | salt         | commitment      | chunks    |
          +--------------------+--------------+-----------------+-----------+
            6 bytes              24 bytes       32 bytes          16 KiB each, tag 16
          body = Cobblestone-256: C2SP chunked-encryption v1, HKDF-Expand-SHA-512 and
                 AES-256-GCM (c2sp.org/chunked-encryption)
          key  = subkey of purpose "lumina chunked v1"; context = suite 0x01's

    0x02  compact               6              30                n-16        n
          +--------------------+--------------+-----------------+-----------+
          | header             | nonce        | ciphertext      | tag       |
          +--------------------+--------------+-----------------+-----------+
            6 bytes              24 bytes                         16 bytes
          body = XAES-256-GCM (c2sp.org/XAES-256-GCM)
          key  = subkey of purpose "lumina xaes v1"; associated data = 0x02's context

    0x04  first generation      6              18                n-16        n
          +--------------------+--------------+-----------------+-----------+
          | header             | nonce        | ciphertext      | tag       |
          +--------------------+--------------+-----------------+-----------+
            6 bytes              12 bytes                         16 bytes
          body = AES-256-GCM; read, and no longer written
          key  = subkey of purpose "lumina field v1"
          associated data = "lumina-ctx-1" || LP(suite) || LP(key id) || LP(deployment)
                            || LP(logical field)

    plaintext = type and value (``leaf``); key tree and contexts: ``field_keys``

Without the key nobody learns more of a value than its length and its key, changes it,
or moves it to another deployment, tenant or field unnoticed. Committing means that a
ciphertext has one key and one context that open it, whoever made it; the compact suite
lacks that and is 32 bytes shorter. 2^80 values under one key and field are safe with
either; no rotation is due before.

Not promised: lengths are not hidden; two values of one field can be swapped, and an
old one put back, by whoever writes the backend's store.

The salt of suite 0x01 is drawn by the library, so that no caller can repeat one; the
nonce of suite 0x02 is an argument.
"""

import hmac
from collections.abc import Callable

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from proxy.core import ciphertext
from proxy.core.ciphertext import HEADER_BYTES, RANDOM
from proxy.core.field_keys import FieldKeys, binding
from proxy.core.keyset import length_prefixed
from proxy.core.leaf import TYPE_BYTES, pack, unpack
from proxy.core.undecryptable import WrongContextError
from proxy.core.unfit import refuse_longer
from proxy.core.xaes import NONCE_BYTES, XAES256GCM

COMMITTING = 0x01
COMPACT = 0x02
FIRST = 0x04

_FIRST_NONCE_BYTES = 12
_OVERHEAD_BYTES = {
    COMMITTING: HEADER_BYTES + 24 + 32 + TYPE_BYTES + 16,
    COMPACT: HEADER_BYTES + NONCE_BYTES + TYPE_BYTES + 16,
}
_SALT_BYTES = 24
_COMMITTED_BYTES = _SALT_BYTES + 32
_DERIVED_BYTES = 32 + 12 + 32
_LABEL = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0"
_CHUNK_BYTES = 16 * 1024
_TAG_BYTES = 16

_Opener = Callable[[bytes, bytes], bytes]
"""Decrypts a message of one suite under one key, bound to something or to nothing."""


class RandomMode:
    """Encrypts and decrypts the values of one field.

    Args:
        keys: of the field.
        nonce: returns 24 random bytes, fresh at every call; compact fields only.
    """

    __slots__ = ("_encrypt", "_keys", "_nonce", "_openers")

    def __init__(self, keys: FieldKeys, nonce: Callable[[], bytes]) -> None:
        self._keys = keys
        self._nonce = nonce
        # Bounded: only suites and keys that are known get in.
        self._openers: dict[tuple[int, int], _Opener] = {}
        seal = self._compact if keys.field.compact else self._committing
        self._encrypt = seal(keys.encrypting)

    def encrypt(self, leaf: str, text: str | None, bound: bytes = b"") -> str:
        """Return a new ciphertext of a leaf; ``text`` is its value if it is a string.

        Args:
            leaf: the JSON text of the value.
            text: the value, if it is a string.
            bound: what it must be decrypted with again, such as who wrote it.

        Raises:
            Refused: FIELD_UNENCRYPTABLE: it is too long.
            ValueError: a nonce is not 24 bytes, or half of a surrogate pair.
        """
        plaintext = pack(leaf, text)
        refuse_longer(self._keys.field, len(plaintext) - TYPE_BYTES)
        return ciphertext.write(RANDOM, self._encrypt(plaintext, bound))

    @staticmethod
    def recognises(text: str) -> bool:
        """Tell by its first characters whether a string is of this mode."""
        return text.startswith(RANDOM)

    def decrypt(self, text: str, bound: bytes = b"") -> str | None:
        """Return the leaf of a ciphertext; None if the string is none of this mode.

        Raises:
            cryptography.exceptions.InvalidTag, KeyError, ValueError: it does not
                decrypt.
        """
        if not text.startswith(RANDOM):
            return None
        suite, key_id, message = ciphertext.read(RANDOM, text)
        opener = self._openers.get((suite, key_id))
        if opener is None:
            opener = _OPENERS[suite](self._keys, key_id)
            self._openers[suite, key_id] = opener
        return unpack(opener(message, bound))

    def _committing(self, key_id: int) -> _Opener:
        key, context = _committing_key(self._keys, key_id)
        header = ciphertext.header(COMMITTING, key_id)

        def seal(plaintext: bytes, bound: bytes) -> bytes:
            encryptor = Cobblestone256Encryptor(key, binding(context, bound))
            return header + encryptor.update(plaintext) + encryptor.finalize()

        return seal

    def _compact(self, key_id: int) -> _Opener:
        aead, context = _compact_key(self._keys, key_id)
        header = ciphertext.header(COMPACT, key_id)

        def seal(plaintext: bytes, bound: bytes) -> bytes:
            nonce = self._nonce()
            sealed = aead.encrypt(nonce, plaintext, binding(context, bound))
            return header + nonce + sealed

        return seal


def _committing_key(keys: FieldKeys, key_id: int) -> tuple[bytes, bytes]:
    key = keys.subkey(key_id, "lumina chunked v1")
    return key, keys.context(key_id, COMMITTING)


def _compact_key(keys: FieldKeys, key_id: int) -> tuple[XAES256GCM, bytes]:
    aead = XAES256GCM(keys.subkey(key_id, "lumina xaes v1"))
    return aead, keys.context(key_id, COMPACT)


def _commits(key: bytes, context: bytes, body: bytes) -> bool:
    """Tell whether a message was encrypted with this key and context (C2SP)."""
    salt, commitment = body[:_SALT_BYTES], body[_SALT_BYTES:_COMMITTED_BYTES]
    derived = HKDFExpand(hashes.SHA512(), _DERIVED_BYTES, _LABEL + salt + context)
    return hmac.compare_digest(derived.derive(key)[-len(commitment) :], commitment)


def _open_committing(keys: FieldKeys, key_id: int) -> _Opener:
    key, context = _committing_key(keys, key_id)

    def open_(message: bytes, bound: bytes) -> bytes:
        whole, body = binding(context, bound), message[HEADER_BYTES:]
        decryptor = Cobblestone256Decryptor(key, whole)
        try:
            return decryptor.update(body) + decryptor.finalize()
        except InvalidTag:
            if not _commits(key, whole, body):
                raise WrongContextError from None
            raise

    return open_


def _open_compact(keys: FieldKeys, key_id: int) -> _Opener:
    aead, context = _compact_key(keys, key_id)
    body = HEADER_BYTES + NONCE_BYTES
    return lambda m, bound: aead.decrypt(
        m[HEADER_BYTES:body], m[body:], binding(context, bound)
    )


def _open_first(keys: FieldKeys, key_id: int) -> _Opener:
    gcm = AESGCM(keys.subkey(key_id, "lumina field v1"))
    bound = (
        bytes((FIRST,)),
        key_id.to_bytes(4, "big"),
        keys.scope.deployment.encode(),
        keys.field.id.encode(),
    )
    context = b"lumina-ctx-1" + b"".join(map(length_prefixed, bound))
    body = HEADER_BYTES + _FIRST_NONCE_BYTES
    # From before anything was bound.
    return lambda m, _: gcm.decrypt(m[HEADER_BYTES:body], m[body:], context)


_OPENERS = {COMMITTING: _open_committing, COMPACT: _open_compact, FIRST: _open_first}


def ciphertext_length(value_bytes: int, *, compact: bool = False) -> int:
    """Return how many characters a ciphertext has.

    Args:
        value_bytes: the length of a string in UTF-8, or of the JSON text of any other
            value.
        compact: whether it is of the compact suite.

    Example:
        >>> ciphertext_length(30), ciphertext_length(30, compact=True)
        (150, 107)
    """
    message_bytes = value_bytes + _OVERHEAD_BYTES[COMPACT if compact else COMMITTING]
    if not compact:
        # Each full chunk has a tag of its own, and a short one after it.
        full_chunks = (value_bytes + TYPE_BYTES) // _CHUNK_BYTES
        message_bytes += full_chunks * _TAG_BYTES
    return ciphertext.length(message_bytes)
