"""Mode ``digits``: digits become other digits, as many, for columns that check them.

FF1 (``ff1``), suite 0x06, frozen by ``tests/vectors/cipher_modes.json``::

    "+49 30 1234567"  ->  "+82 71 0049315"

    key   = subkey of purpose "lumina ff1 v1"
    tweak = the first 16 bytes of SHA-256(the suite's context), see ``field_keys``

6 to 64 ASCII digits are encrypted together; the signs that people write into numbers
(`` +-./()``) stay where they are. Equal digits have equal ciphertexts.

There is no room for a key id or a tag. So nothing tells a ciphertext from a number that
was never encrypted: whatever is stored must have come through the proxy, or it decrypts
to other digits. The key is the one that the policy names, or the only one. A string
that ``encrypt`` cannot have returned passes when it is read.
"""

import re

from cryptography.hazmat.primitives import hashes

from proxy.core.ff1 import FF1, MIN_DIGITS
from proxy.core.field_keys import FieldKeys
from proxy.core.leaf import write
from proxy.core.unfit import unfit

SUITE = 0x06
MAX_DIGITS = 64

_SIGNS = " +-./()"
_number = re.compile(rf"[0-9{re.escape(_SIGNS)}]*").fullmatch
_NO_SIGNS = str.maketrans("", "", _SIGNS)
_TWEAK_BYTES = 16


class DigitsMode:
    """Encrypts and decrypts the values of one field."""

    __slots__ = ("_ff1", "_keys", "_tweak")

    def __init__(self, keys: FieldKeys) -> None:
        self._keys = keys
        self._ff1 = FF1(keys.subkey(keys.encrypting, "lumina ff1 v1"))
        digest = hashes.Hash(hashes.SHA256())
        digest.update(keys.context(keys.encrypting, SUITE))
        self._tweak = digest.finalize()[:_TWEAK_BYTES]

    def encrypt(self, _leaf: str, text: str | None, _bound: bytes = b"") -> str:
        """Return a string with other digits; an empty string stays empty.

        Raises:
            Refused: FIELD_UNENCRYPTABLE: the leaf is no string, or holds other
                characters or another number of digits.
        """
        if text == "":
            return text
        digits = _digits(text)
        if text is None or digits is None:
            raise unfit(
                self._keys.field,
                f"it takes a string of {MIN_DIGITS} to {MAX_DIGITS} digits",
            )
        return _in_place(text, self._ff1.encrypt(digits, self._tweak))

    @staticmethod
    def recognises(_text: str) -> bool:
        """Return False: nothing tells a ciphertext from another number."""
        return False

    def decrypt(self, text: str, _bound: bytes = b"") -> str | None:
        """Return the leaf of a ciphertext; None if the string cannot be one."""
        digits = _digits(text)
        if digits is None:
            return None
        return write(_in_place(text, self._ff1.decrypt(digits, self._tweak)))


def _digits(text: str | None) -> str | None:
    if text is None or not _number(text):
        return None
    digits = text.translate(_NO_SIGNS)
    return digits if MIN_DIGITS <= len(digits) <= MAX_DIGITS else None


def _in_place(text: str, digits: str) -> str:
    """Put digits where ``text`` has its own, in their order."""
    following = iter(digits)
    return "".join(one if one in _SIGNS else next(following) for one in text)
