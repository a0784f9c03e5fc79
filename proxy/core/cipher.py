"""One JSON value to one ciphertext, and back. The wire format, version 1.

As text, a JSON string of URL-safe characters::

    "lm1r" base64url-nopad( E1 04 | key id | nonce | ciphertext | tag )
                             1  1     4       12       n          16    bytes

    E1      version 1
    04      suite: AES-256-GCM (SP 800-38D), 96-bit random nonce, key of the field
    key id  which root key, big endian; see ``keyset``
    n       1 + the value's bytes

The plaintext is one byte for the kind of value and the value: ``s`` and the UTF-8 of a
string, or ``j`` and the JSON text of anything else, which so comes back byte for byte.
The associated data is ``lumina-ctx-1`` and, each with its length in front, the suite,
the key id, the deployment and the logical field. A value that is moved to another
field, another deployment or another key does not decrypt.

What is promised: confidentiality and integrity of each value (RFC 5116) for up to 2^32
values of a field under one key, which is the limit of random 96-bit nonces. What is
not: a value's length shows; a value moved to another record of the same field is not
noticed; null stays null, for a backend must see that there is no value.
"""

import base64
import binascii
import json
from collections.abc import Callable

from cryptography.exceptions import InvalidTag

from proxy.core.errors import Refused
from proxy.core.keyset import Keyset, length_prefixed
from proxy.core.masks import looks_masked
from proxy.core.reasons import Reason

PREFIX = "lm1r"
NONCE_BYTES = 12
_VERSION_AND_SUITE = b"\xe1\x04"
_CONTEXT = b"lumina-ctx-1"
_HEAD_BYTES = 6
_LEAST_BYTES = _HEAD_BYTES + NONCE_BYTES + 1 + 16
_QUOTED_PREFIX = '"' + PREFIX


def ciphertext_length(plaintext_bytes: int) -> int:
    """Return the characters that a value of so many bytes needs once encrypted.

    Example:
        >>> ciphertext_length(30)
        91
    """
    return len(PREFIX) + -(-(_LEAST_BYTES + plaintext_bytes) * 4 // 3)


def is_ciphertext(leaf: str) -> bool:
    """Say whether a JSON text is a string that begins as our ciphertexts do."""
    return leaf.startswith(_QUOTED_PREFIX)


class Cipher:
    """Encrypts and decrypts single values.

    Args:
        keyset: the keys.
        deployment: bound into every ciphertext.
        nonce: returns 12 fresh random bytes on each call, never the same twice.
    """

    __slots__ = ("_contexts", "_deployment", "_keyset", "_nonce")

    def __init__(
        self, keyset: Keyset, deployment: str, nonce: Callable[[], bytes]
    ) -> None:
        self._keyset = keyset
        self._deployment = deployment.encode()
        self._nonce = nonce
        self._contexts: dict[tuple[int, str], bytes] = {}

    def encrypt(self, field: str, leaf: str) -> str:
        """Return the ciphertext of a JSON value, both as JSON text.

        Args:
            field: the logical field.
            leaf: the value; null is returned as it is.

        Raises:
            Refused: CIPHERTEXT_IN_REQUEST or MASK_IN_REQUEST, where the value is
                nothing that a client could mean; BODY_NOT_JSON where it is no text.
        """
        if leaf == "null":
            return leaf
        keyset = self._keyset
        key_id = keyset.primary
        aead = keyset.primary_aead(field)
        nonce = self._nonce()
        sealed = aead.encrypt(
            nonce, self._plaintext(field, leaf), self._context(key_id, field)
        )
        head = _VERSION_AND_SUITE + key_id.to_bytes(4, "big")
        text = base64.urlsafe_b64encode(head + nonce + sealed).rstrip(b"=")
        return f'"{PREFIX}{text.decode("ascii")}"'

    def _plaintext(self, field: str, leaf: str) -> bytes:
        if not leaf.startswith('"'):
            return b"j" + leaf.encode()
        text = json.loads(leaf, strict=False) if "\\" in leaf else leaf[1:-1]
        if text.startswith(PREFIX):
            raise Refused(Reason.CIPHERTEXT_IN_REQUEST, f"The field is {field}.")
        if looks_masked(text):
            raise Refused(Reason.MASK_IN_REQUEST, f"The field is {field}.")
        try:
            return b"s" + text.encode()
        except UnicodeEncodeError:
            raise Refused(
                Reason.BODY_NOT_JSON, f"A string of {field} is no Unicode text."
            ) from None

    def decrypt(self, field: str, leaf: str) -> str:
        """Return the value of a ciphertext, both as JSON text.

        Args:
            field: the logical field.
            leaf: the ciphertext; what is none was stored before the proxy was there,
                and is returned as it is (see ``is_ciphertext``).

        Raises:
            Refused: FIELD_UNDECRYPTABLE, whatever is wrong with it.
        """
        if not is_ciphertext(leaf):
            return leaf
        try:
            plain = self._opened(field, leaf[len(_QUOTED_PREFIX) : -1])
        except (ValueError, InvalidTag):
            raise Refused(
                Reason.FIELD_UNDECRYPTABLE, f"The field is {field}."
            ) from None
        text = plain[1:].decode()
        if plain[:1] == b"s":
            return json.dumps(text, ensure_ascii=False)
        return text

    def _opened(self, field: str, text: str) -> bytes:
        sealed = base64.b64decode(
            text + "=" * (-len(text) % 4), altchars=b"-_", validate=True
        )
        if base64.urlsafe_b64encode(sealed).rstrip(b"=") != text.encode("ascii"):
            raise binascii.Error
        if len(sealed) < _LEAST_BYTES or not sealed.startswith(_VERSION_AND_SUITE):
            raise ValueError
        key_id = int.from_bytes(sealed[2:_HEAD_BYTES], "big")
        aead = self._keyset.aead(key_id, field)
        if aead is None:
            raise ValueError
        end = _HEAD_BYTES + NONCE_BYTES
        return aead.decrypt(
            sealed[_HEAD_BYTES:end], sealed[end:], self._context(key_id, field)
        )

    def _context(self, key_id: int, field: str) -> bytes:
        context = self._contexts.get((key_id, field))
        if context is None:
            context = self._contexts[key_id, field] = _CONTEXT + length_prefixed(
                _VERSION_AND_SUITE[1:],
                key_id.to_bytes(4, "big"),
                self._deployment,
                field.encode(),
            )
        return context
