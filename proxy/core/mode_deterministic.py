r"""Mode ``deterministic``: equal values have equal ciphertexts, so look-ups work.

AES-256-SIV (RFC 5297), the one deterministic encryption that leaks nothing else::

    bytes    0          6                 22                 n     suite 0x03
             +----------+-----------------+------------------+
             | header   | synthetic IV    | ciphertext       |     ``ciphertext``
             +----------+-----------------+------------------+
               6 bytes    16 bytes          type and value (``leaf``)

    or, of shape e-mail, the address that ``mail_address`` writes   suite 0x05
             the value is the address alone: its type is always a string

    key             = 64-byte subkey of purpose "lumina siv v1" or "lumina mail v1"
    associated data = the suite's context (``field_keys``)

A string is normalised first, and comes back normalised. Whoever sees ciphertexts sees
which values are equal, how often each occurs, and how long it is. That tells nearly
everything about a field of a few values, so true and false are refused unless the
policy accepts it (``accept_leakage``), and its linter says the same of field names.

One key of the keyset encrypts for ever (``Field.key``), for with another one no
look-up would find what is stored. The others still decrypt.
"""

from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from proxy.core import ciphertext, mail_address
from proxy.core.ciphertext import DETERMINISTIC, HEADER_BYTES
from proxy.core.errors import Refused
from proxy.core.field_keys import FieldKeys
from proxy.core.leaf import TYPE_BYTES, pack, unpack, write
from proxy.core.normalise import normalise
from proxy.core.reasons import Reason
from proxy.core.unfit import refuse_longer, unfit

PLAIN = 0x03
MAIL = 0x05

_KEY_BYTES = 64
_IV_BYTES = 16
_FEW_VALUES = {"true", "false"}


class _Siv:
    """AES-256-SIV of one field: an object of the library for each key."""

    __slots__ = ("_aeads", "_keys", "_purpose", "_suite")

    def __init__(self, keys: FieldKeys, suite: int, purpose: str) -> None:
        self._keys = keys
        self._suite = suite
        self._purpose = purpose
        # Bounded: only keys that are known get in.
        self._aeads: dict[int, tuple[AESSIV, list[bytes]]] = {}

    def encrypt(self, key_id: int, plaintext: bytes) -> bytes:
        aead, associated_data = self._aead(key_id)
        return aead.encrypt(plaintext, associated_data)

    def decrypt(self, key_id: int, sealed: bytes) -> bytes:
        aead, associated_data = self._aead(key_id)
        return aead.decrypt(sealed, associated_data)

    def _aead(self, key_id: int) -> tuple[AESSIV, list[bytes]]:
        found = self._aeads.get(key_id)
        if found is None:
            key = self._keys.subkey(key_id, self._purpose, _KEY_BYTES)
            found = AESSIV(key), [self._keys.context(key_id, self._suite)]
            self._aeads[key_id] = found
        return found


class DeterministicMode:
    """Encrypts and decrypts the values of one field."""

    __slots__ = ("_header", "_keys", "_siv")

    def __init__(self, keys: FieldKeys) -> None:
        self._keys = keys
        self._siv = _Siv(keys, PLAIN, "lumina siv v1")
        self._header = ciphertext.header(PLAIN, keys.encrypting)

    def encrypt(self, leaf: str, text: str | None, _bound: bytes = b"") -> str:
        """Return the ciphertext of a leaf; ``text`` is its value if it is a string.

        Raises:
            Refused: FIELD_UNENCRYPTABLE or CIPHERTEXT_IN_REQUEST.
            ValueError: a string holds half of a surrogate pair.
        """
        field = self._keys.field
        if text is not None:
            text = normalise(text, field.normalise)
            if ciphertext.looks_sealed(text):
                raise Refused(Reason.CIPHERTEXT_IN_REQUEST, f"The field is {field.id}.")
        elif leaf in _FEW_VALUES and not field.accept_leakage:
            raise unfit(field, "true and false would be told apart in the store")
        plaintext = pack(leaf, text)
        refuse_longer(field, len(plaintext) - TYPE_BYTES)
        sealed = self._siv.encrypt(self._keys.encrypting, plaintext)
        return ciphertext.write(DETERMINISTIC, self._header + sealed)

    @staticmethod
    def recognises(text: str) -> bool:
        """Tell by its first characters whether a string is of this mode."""
        return text.startswith(DETERMINISTIC)

    def decrypt(self, text: str, _bound: bytes = b"") -> str | None:
        """Return the leaf of a ciphertext; None if the string is none of this mode.

        Raises:
            cryptography.exceptions.InvalidTag, KeyError, ValueError: it does not
                decrypt.
        """
        if not text.startswith(DETERMINISTIC):
            return None
        suite, key_id, message = ciphertext.read(DETERMINISTIC, text)
        if suite != PLAIN:
            raise ValueError("an unknown suite")
        return unpack(self._siv.decrypt(key_id, message[HEADER_BYTES:]))


class MailMode:
    """Encrypts e-mail addresses to e-mail addresses, and back.

    Args:
        keys: of a field that has a mail domain.
    """

    __slots__ = ("_domain", "_keys", "_siv")

    def __init__(self, keys: FieldKeys) -> None:
        self._keys = keys
        self._domain = keys.field.mail_domain or ""
        self._siv = _Siv(keys, MAIL, "lumina mail v1")

    def encrypt(self, _leaf: str, text: str | None, _bound: bytes = b"") -> str:
        """Return the ciphertext of an address; an empty string stays empty.

        Backends say "not set" with one, and their own rules about that go on working.

        Raises:
            Refused: FIELD_UNENCRYPTABLE or CIPHERTEXT_IN_REQUEST.
        """
        field = self._keys.field
        sent = text
        text = None if text is None else normalise(text, field.normalise)
        if text == "":
            return text
        if text is None or not mail_address.is_address(text):
            raise unfit(field, "this is not an e-mail address")
        # As it was sent, the cipher looked at it.
        if text is not sent and self.recognises(text):
            raise Refused(Reason.CIPHERTEXT_IN_REQUEST, f"The field is {field.id}.")
        plaintext = text.encode()
        refuse_longer(field, len(plaintext))
        sealed = self._siv.encrypt(self._keys.encrypting, plaintext)
        return mail_address.write(self._keys.encrypting, sealed, self._domain)

    def recognises(self, text: str) -> bool:
        """Tell by its domain whether a string is of this mode."""
        return mail_address.is_below(text, self._domain)

    def decrypt(self, text: str, _bound: bytes = b"") -> str | None:
        """Return the leaf of a ciphertext; None if the string is none of this mode.

        Raises:
            cryptography.exceptions.InvalidTag, KeyError, ValueError: it does not
                decrypt.
        """
        if not self.recognises(text):
            return None
        key_id, sealed = mail_address.read(text, self._domain)
        return write(self._siv.decrypt(key_id, sealed).decode())


def ciphertext_length(value_bytes: int) -> int:
    """Return how many characters a ciphertext without a shape has.

    Args:
        value_bytes: the length of a string in UTF-8, or of the JSON text of any other
            value.

    Example:
        >>> ciphertext_length(30)
        75
    """
    return ciphertext.length(HEADER_BYTES + _IV_BYTES + TYPE_BYTES + value_bytes)
