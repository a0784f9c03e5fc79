"""Mode ``token``: a random word stands for the value, which the keystore holds.

For columns that are too short for any ciphertext::

    "DE89 3704 0044 0532 0130 00"  ->  "k3vq7h2dmx5ozc4n"

    token = 16 to 32 characters of a-z and 2-7, 5 random bits each
    entry = ``random``'s committing ciphertext of the value (``entries``)

A token is another one every time, and says nothing: not the length, not equality. It
cannot be looked up. 80 bits at least: among a million values, two get the same token
with probability 2^-41, and then the second request is refused.

Nothing tells a token from another word, but that the keystore knows it. So a client may
send anything, a token too: it is a value like any other, and stands for nothing.
"""

import base64
import re
from collections.abc import Callable

from proxy.core.entries import Entries, Name, token_name
from proxy.core.field_keys import FieldKeys
from proxy.core.mode_random import RandomMode

MIN_LENGTH = 16
MAX_LENGTH = 32

_token = re.compile(rf"[a-z2-7]{{{MIN_LENGTH},{MAX_LENGTH}}}").fullmatch


class TokenMode:
    """Replaces the values of one field by tokens, and back.

    Args:
        keys: of the field.
        nonce: returns 24 random bytes, fresh at every call.
        entries: has what tokens stand for.
    """

    __slots__ = ("_entries", "_keys", "_length", "_nonce", "_sealed")

    def __init__(
        self, keys: FieldKeys, nonce: Callable[[], bytes], entries: Entries
    ) -> None:
        self._keys = keys
        self._nonce = nonce
        self._entries = entries
        self._length = min(keys.field.token_length or MAX_LENGTH, MAX_LENGTH)
        self._sealed = RandomMode(keys, nonce)

    def encrypt(self, leaf: str, text: str | None, bound: bytes = b"") -> str:
        """Return a new token; what it stands for is to be stored.

        Raises:
            Refused: FIELD_UNENCRYPTABLE: the value is too long.
            ValueError: a string holds half of a surrogate pair.
        """
        sealed = self._sealed.encrypt(leaf, text, bound)
        token = base64.b32encode(self._nonce()).decode().lower()[: self._length]
        self._entries.new[self._name(token)] = sealed.encode()
        return token

    @staticmethod
    def recognises(_text: str) -> bool:
        """Return False: a token is a word like any other."""
        return False

    def asks(self, text: str) -> Name | None:
        """Return the entry that may say what a string stands for."""
        return self._name(text) if _token(text) else None

    def decrypt(self, text: str, bound: bytes = b"") -> str | None:
        """Return the leaf that a token stands for; None if it is none.

        Raises:
            LostError: nobody knows.
            cryptography.exceptions.InvalidTag, KeyError, ValueError: what it stands
                for does not decrypt.
        """
        if not _token(text):
            return None
        sealed = self._entries.get(self._name(text))
        return None if sealed is None else self._sealed.decrypt(sealed.decode(), bound)

    def _name(self, token: str) -> Name:
        return token_name(self._keys.scope.tenant, self._keys.field.id, token)
