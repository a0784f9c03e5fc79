r"""AES-256-GCM for one JSON value: the wire format, and nothing around it.

Wire format v1, frozen by ``tests/vectors/cipher_v1.json``::

    text  = "lm1r" || base64url(bytes)             RFC 4648 section 5, no padding

    bytes    0      1      2          6              18            n-16        n
             +------+------+----------+--------------+-------------+-----------+
             | 0xE1 | 0x04 | key id   | nonce        | ciphertext  | tag       |
             +------+------+----------+--------------+-------------+-----------+
               |      |      u32 BE     12 bytes       n-34 bytes    16 bytes
               |      suite: AES-256-GCM, random 96-bit nonce, subkey per field
               version 1

    plaintext       = "s" || the string, decoded, in UTF-8
                    | "j" || the JSON text of any other value, byte for byte
    key             = HKDF-SHA-512 subkey of (key id, "lumina field v1", logical field)
    associated data = "lumina-ctx-1" || LP(suite, 1 byte) || LP(key id, 4 bytes)
                      || LP(deployment) || LP(logical field)
    LP(x)           = length of x as u32 BE || x

What it promises (RFC 5116; NIST SP 800-38D): without the key nobody learns more of a
value than its length, whether it is null, and which key and nonce were used; nobody
changes a ciphertext, or moves it to another deployment or logical field, unnoticed.

What it does not: lengths are not hidden, and neither is absence (null stays null, so
that a backend's "not set" keeps working). Two values of the same logical field can be
swapped, and an old value put back, by whoever writes the backend's store: rows and
list indexes are not bound. One key and logical field takes 2^32 messages (SP 800-38D
section 8.3); rotate the key long before.

Overhead: 39 bytes in the text and a third more for base64; ``ciphertext_length``.

Rules of this file: the nonce is an argument; one key id selects one key, none is
tried; every failure to decrypt is one refusal with one message.
"""

import binascii
import json
from collections.abc import Callable
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from proxy.core.errors import Refused
from proxy.core.keyset import Keyset, length_prefixed
from proxy.core.masks import looks_masked
from proxy.core.reasons import Reason

PREFIX = "lm1r"
"""How every ciphertext starts: lumina, format 1, randomised."""

NONCE_BYTES = 12

_PURPOSE = "lumina field v1"
_VERSION_AND_SUITE = b"\xe1\x04"
_HEADER_BYTES = 6
_TAG_BYTES = 16
_TYPE_BYTES = 1
_OVERHEAD_BYTES = _HEADER_BYTES + NONCE_BYTES + _TYPE_BYTES + _TAG_BYTES

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")

_RESTORE: dict[bytes, Callable[[str], str]] = {
    b"s": json.JSONEncoder(ensure_ascii=False).encode,
    b"j": str,
}
"""How each type of plaintext becomes JSON text again."""


class _Context(NamedTuple):
    """What encrypting one logical field under one key needs, derived once."""

    header: bytes
    aead: AESGCM
    associated_data: bytes


class Cipher:
    """Encrypts and decrypts leaves of JSON bodies.

    Args:
        keyset: the keys.
        deployment: bound into every ciphertext; another deployment cannot read it,
            even with the same keys.
        nonce: returns 12 random bytes, fresh at every call.
    """

    __slots__ = ("_contexts", "_deployment", "_keyset", "_nonce")

    def __init__(
        self, keyset: Keyset, deployment: str, nonce: Callable[[], bytes]
    ) -> None:
        self._keyset = keyset
        self._deployment = deployment
        self._nonce = nonce
        # Bounded: logical fields come from the policy, and only known keys get in.
        self._contexts: dict[tuple[int, str], _Context] = {}

    def encrypt(self, field: str, leaf: str) -> str:
        """Encrypt the JSON text of a value; the result is the JSON text of a string.

        Null stays null: an absent value has nothing to hide but its absence.

        Args:
            field: the logical field.
            leaf: the JSON text of any value, without white space around it.

        Raises:
            Refused: CIPHERTEXT_IN_REQUEST or MASK_IN_REQUEST.
            ValueError: the nonce is not 12 bytes, or a string holds half of a
                surrogate pair.
        """
        if leaf == "null":
            return leaf
        if leaf.startswith('"'):
            text = _decoded(leaf)
            if text.startswith(PREFIX):
                raise Refused(Reason.CIPHERTEXT_IN_REQUEST, f"The field is {field}.")
            if looks_masked(text):
                raise Refused(Reason.MASK_IN_REQUEST, f"The field is {field}.")
            plaintext = b"s" + text.encode()
        else:
            plaintext = b"j" + leaf.encode()
        nonce = self._nonce()
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"a nonce is {NONCE_BYTES} bytes")
        header, aead, associated_data = self._context(self._keyset.primary, field)
        message = header + nonce + aead.encrypt(nonce, plaintext, associated_data)
        return f'"{PREFIX}{_base64url(message)}"'

    def decrypt(self, field: str, leaf: str) -> str:
        """Decrypt what ``encrypt`` returned, to the JSON text that it was given.

        A string comes back with its value; its escapes may be spelled another way. A
        leaf that is no ciphertext was stored before the proxy came and is returned as
        it is; ``is_ciphertext`` tells beforehand.

        Raises:
            Refused: FIELD_UNDECRYPTABLE, whatever the cause.
        """
        if not is_ciphertext(leaf):
            return leaf
        try:
            plaintext = self._open(field, _decoded(leaf)[len(PREFIX) :])
            restore = _RESTORE[plaintext[:_TYPE_BYTES]]
        except (InvalidTag, KeyError, ValueError):
            detail = f"The field is {field}."
            raise Refused(Reason.FIELD_UNDECRYPTABLE, detail) from None
        return restore(plaintext[_TYPE_BYTES:].decode())

    def _open(self, field: str, encoded: str) -> bytes:
        message = _from_base64url(encoded)
        if not message.startswith(_VERSION_AND_SUITE):
            raise ValueError("not version 1, or an unknown suite")
        key_id = int.from_bytes(message[2:_HEADER_BYTES], "big")
        body = _HEADER_BYTES + NONCE_BYTES
        context = self._context(key_id, field)
        return context.aead.decrypt(
            message[_HEADER_BYTES:body], message[body:], context.associated_data
        )

    def _context(self, key_id: int, field: str) -> _Context:
        context = self._contexts.get((key_id, field))
        if context is None:
            context = self._derive(key_id, field)
            self._contexts[key_id, field] = context
        return context

    def _derive(self, key_id: int, field: str) -> _Context:
        id_bytes = key_id.to_bytes(4, "big")
        bound = (
            _VERSION_AND_SUITE[1:],
            id_bytes,
            self._deployment.encode(),
            field.encode(),
        )
        return _Context(
            header=_VERSION_AND_SUITE + id_bytes,
            aead=AESGCM(self._keyset.subkey(key_id, _PURPOSE, field)),
            associated_data=b"lumina-ctx-1" + b"".join(map(length_prefixed, bound)),
        )


def is_ciphertext(leaf: str) -> bool:
    """Tell whether the JSON text of a value is a string that ``encrypt`` may have made.

    By its first characters alone, however they are escaped.
    """
    return leaf.startswith('"') and _decoded(leaf).startswith(PREFIX)


def ciphertext_length(plaintext_bytes: int) -> int:
    """Return how many characters a ciphertext has, without quotes.

    Args:
        plaintext_bytes: the length of a string in UTF-8, or of the JSON text of
            any other value.

    Example:
        >>> ciphertext_length(30)
        91
    """
    message_bytes = _OVERHEAD_BYTES + plaintext_bytes
    return len(PREFIX) + -(-message_bytes * 4 // 3)


def _decoded(leaf: str) -> str:
    if "\\" not in leaf:
        return leaf[1:-1]
    text: str = json.loads(leaf)
    return text


def _base64url(message: bytes) -> str:
    encoded = binascii.b2a_base64(message, newline=False)
    return encoded.translate(_TO_URL).rstrip(b"=").decode()


def _from_base64url(encoded: str) -> bytes:
    """Decode; ValueError unless ``encoded`` is the one spelling of its bytes."""
    padded = encoded.encode().translate(_FROM_URL) + b"=" * (-len(encoded) % 4)
    message = binascii.a2b_base64(padded)
    if _base64url(message) != encoded:
        raise ValueError("not canonical base64url")
    return message
