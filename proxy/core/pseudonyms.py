"""A name for a value that is not the value: the same for the same, and nothing else.

With it a role can count and join without learning what it counts::

    text = "•••" || the first 16 characters of base32(HMAC-SHA-256(key, message)),
           lower case (RFC 4648 section 6)

    key     = subkey of purpose "lumina pseudonym v1", under the field's encrypting key
    message = context of suite 0x08 (``field_keys``) || LP(role) || type and value

80 bits: among a million values, two share a pseudonym with probability 2^-41. Each role
has pseudonyms of its own, so that two roles cannot join what they were shown. They
begin with the mark of ``masks``, so none is taken for a value when it is sent back. A
new key makes new pseudonyms.
"""

import base64

from cryptography.hazmat.primitives import hashes, hmac

from proxy.core.field_keys import FieldKeys
from proxy.core.keyset import length_prefixed
from proxy.core.leaf import NULL, pack, text_of, write
from proxy.core.masks import HIDDEN

SUITE = 0x08

_CHARACTERS = 16


class Pseudonyms:
    """The pseudonyms of one field.

    Args:
        keys: of the field.
    """

    __slots__ = ("_mac",)

    def __init__(self, keys: FieldKeys) -> None:
        key = keys.subkey(keys.encrypting, "lumina pseudonym v1")
        self._mac = hmac.HMAC(key, hashes.SHA256())
        self._mac.update(keys.context(keys.encrypting, SUITE))

    def of(self, leaf: str, role: str) -> str:
        """Return the pseudonym of a JSON text, as JSON text; null has none.

        Args:
            leaf: the decrypted value.
            role: who is shown it; "" without a token.
        """
        if leaf == NULL:
            return leaf
        mac = self._mac.copy()
        mac.update(length_prefixed(role.encode()) + pack(leaf, text_of(leaf)))
        name = base64.b32encode(mac.finalize()).decode()[:_CHARACTERS]
        return write(HIDDEN + name.lower())
