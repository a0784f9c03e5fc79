"""Mode ``fernet``: strings that an older service encrypted; read, and never written.

A token (github.com/fernet/spec) is AES-128-CBC with HMAC-SHA-256 under the root key
itself. It names neither its key nor its field: whoever writes the backend's store can
move one to another field that reads them. So it is for the way out of it only: a field
of another mode lists it in ``reads``, and is encrypted anew when it is next written.
"""

import re

from cryptography.fernet import InvalidToken, MultiFernet

from proxy.core.field_keys import FieldKeys
from proxy.core.leaf import write
from proxy.core.unfit import unfit

# Version 0x80, a time before the year 2106, IV, at least one block, MAC: 73 bytes.
_token = re.compile(r"gAAAAA[A-Za-z0-9_-]{92,}={0,2}").fullmatch


class FernetMode:
    """Decrypts the values of one field."""

    __slots__ = ("_fernet", "_keys")

    def __init__(self, keys: FieldKeys, fernet: MultiFernet) -> None:
        self._keys = keys
        self._fernet = fernet

    def encrypt(self, _leaf: str, _text: str | None, _bound: bytes = b"") -> str:
        """Refuse: FIELD_UNENCRYPTABLE."""
        raise unfit(self._keys.field, "it is read-only")

    @staticmethod
    def recognises(text: str) -> bool:
        """Tell by its form whether a string is a token."""
        return _token(text) is not None

    def decrypt(self, text: str, _bound: bytes = b"") -> str | None:
        """Return the leaf of a token; None if the string is none.

        Raises:
            ValueError: it does not decrypt.
        """
        if not _token(text):
            return None
        try:
            return write(self._fernet.decrypt(text).decode())
        except InvalidToken:
            raise ValueError("not a token of these keys") from None
