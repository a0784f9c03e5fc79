r"""Mode ``pepper``: a password becomes another one that only this proxy can compute.

The backend goes on hashing what it gets. Whoever steals its hashes cannot guess
passwords without the key. Nothing decrypts; frozen by
``tests/vectors/cipher_modes.json``::

    text = "Aa1!" || base64url(HMAC-SHA-384(key, context || password))    68 characters

    key      = 48-byte subkey of purpose "lumina pepper v1"
    context  = that of suite 0x07 (``field_keys``)
    password = in NFC, other spaces as U+0020 (RFC 8265 section 4.2), in UTF-8

The beginning satisfies rules that ask for one character of each class; 68 bytes are
below the 72 of bcrypt. A hash with no key in this place would be worse than none: it
lets stolen hashes be tried as passwords (OWASP, Password Storage Cheat Sheet).

What it costs: every place where a password enters must be mapped, or it will not match
elsewhere; the backend's own rules see 68 characters, so the shortest password is the
proxy's to check; the key can never be replaced without new passwords, and its loss
locks everybody out.
"""

import base64
import unicodedata

from cryptography.hazmat.primitives import hashes, hmac

from proxy.core.field_keys import FieldKeys
from proxy.core.unfit import unfit

SUITE = 0x07
LENGTH = 68

_PREFIX = "Aa1!"
_KEY_BYTES = 48


class PepperMode:
    """Replaces the passwords of one field."""

    __slots__ = ("_keys", "_mac")

    def __init__(self, keys: FieldKeys) -> None:
        self._keys = keys
        key = keys.subkey(keys.encrypting, "lumina pepper v1", _KEY_BYTES)
        self._mac = hmac.HMAC(key, hashes.SHA384())
        self._mac.update(keys.context(keys.encrypting, SUITE))

    def encrypt(self, _leaf: str, text: str | None, _bound: bytes = b"") -> str:
        """Return what the backend gets; an empty string stays empty.

        With an empty password backends mean that nobody may log in.

        Raises:
            Refused: FIELD_UNENCRYPTABLE: the leaf is no string, or too short.
        """
        field = self._keys.field
        if text == "":
            return text
        if text is None:
            raise unfit(field, "a password is a string")
        if len(text) < field.min_length:
            raise unfit(field, f"a password has {field.min_length} characters or more")
        mac = self._mac.copy()
        mac.update(_enforced(text).encode())
        return _PREFIX + base64.urlsafe_b64encode(mac.finalize()).decode()

    @staticmethod
    def recognises(_text: str) -> bool:
        """Return False: a password may look like anything."""
        return False

    @staticmethod
    def decrypt(_text: str, _bound: bytes = b"") -> str | None:
        """Return None: nothing comes back."""
        return None


def _enforced(password: str) -> str:
    """Apply RFC 8265's OpaqueString, as far as it changes a password."""
    if password.isascii():
        return password
    spaced = (" " if unicodedata.category(c) == "Zs" else c for c in password)
    return unicodedata.normalize("NFC", "".join(spaced))
