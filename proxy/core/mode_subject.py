"""A key per subject for ``random`` fields, so that a person can be forgotten.

Whose a value is, the policy says (``subject``). Values are encrypted as ever, under the
subject's own key, which is an entry of the keystore (``entries``), itself encrypted
under the tenant's key. Without that entry nobody reads them, in no backup either::

    entry = ``random``'s committing ciphertext of the key in base64, as of the field
            "#subject", bound to its key id

Values of before, under the tenant's key, stay readable.
"""

from collections.abc import Callable

from proxy.core import ciphertext
from proxy.core.ciphertext import RANDOM
from proxy.core.entries import Entries, Name, subject_name
from proxy.core.errors import Refused
from proxy.core.field import Field
from proxy.core.field_keys import FieldKeys
from proxy.core.keyset import Keyset, UnknownKeyError, key_from_text, text_of_key
from proxy.core.leaf import text_of
from proxy.core.mode_random import RandomMode
from proxy.core.reasons import Reason

OWNED = Field(id="#subject")
"""The field that subjects' keys are values of; no policy can have it."""

_REMEMBERED = 256
_ID_BYTES = 4


class SubjectKeys:
    """Wraps and unwraps the keys of one tenant's subjects.

    Args:
        keys: of the field ``OWNED``, of the tenant.
        nonce: returns 24 random bytes, fresh at every call.
    """

    __slots__ = ("_mode",)

    def __init__(self, keys: FieldKeys, nonce: Callable[[], bytes]) -> None:
        self._mode = RandomMode(keys, nonce)

    def wrap(self, root: bytes) -> tuple[int, bytes]:
        """Return a key's id, and the entry that holds it."""
        key_id = Keyset([root]).primary
        text = text_of_key(root)
        bound = key_id.to_bytes(_ID_BYTES, "big")
        return key_id, self._mode.encrypt(f'"{text}"', text, bound).encode()

    def unwrap(self, key_id: int, entry: bytes) -> Keyset:
        """Return the keyset of one subject.

        Raises:
            cryptography.exceptions.InvalidTag, KeyError, ValueError: it is another
                one's, or was changed.
        """
        leaf = self._mode.decrypt(entry.decode(), key_id.to_bytes(_ID_BYTES, "big"))
        return Keyset([key_from_text(text_of(leaf or "") or "", 1)])


class SubjectMode:
    """Encrypts and decrypts the values of one field, each under its subject's key.

    Args:
        keys: of the field, of the tenant.
        nonce: returns 24 random bytes, fresh at every call.
        entries: has the subjects' keys.
        subjects: unwraps them.
    """

    __slots__ = ("_entries", "_keys", "_known", "_nonce", "_own", "_subjects")

    def __init__(
        self,
        keys: FieldKeys,
        nonce: Callable[[], bytes],
        entries: Entries,
        subjects: SubjectKeys,
    ) -> None:
        self._keys = keys
        self._nonce = nonce
        self._entries = entries
        self._subjects = subjects
        self._own = RandomMode(keys, nonce)
        self._known: dict[bytes, RandomMode] = {}

    def encrypt(self, leaf: str, text: str | None, bound: bytes = b"") -> str:
        """Return a new ciphertext under the key of whose value it is.

        Raises:
            Refused: KEYS_UNAVAILABLE, or as ``RandomMode.encrypt``.
        """
        owner = self._entries.owners.get(self._keys.field.id)
        if owner is None:
            raise Refused(Reason.KEYS_UNAVAILABLE)
        key_id = int.from_bytes(owner[:_ID_BYTES], "big")
        return self._mode(key_id, owner[_ID_BYTES:]).encrypt(leaf, text, bound)

    @staticmethod
    def recognises(text: str) -> bool:
        """Tell by its first characters whether a string is of this mode."""
        return text.startswith(RANDOM)

    def asks(self, text: str) -> Name | None:
        """Return the entry with the key that a ciphertext names."""
        if not text.startswith(RANDOM):
            return None
        try:
            _, key_id, _ = ciphertext.read(RANDOM, text)
        except ValueError:
            return None
        return None if self._keys.has(key_id) else subject_name(key_id)

    def decrypt(self, text: str, bound: bytes = b"") -> str | None:
        """Return the leaf of a ciphertext; None if the string is none of this mode.

        Raises:
            LostError: nobody knows the key.
            cryptography.exceptions.InvalidTag, KeyError, ValueError: it does not
                decrypt; UnknownKeyError where the subject was forgotten.
        """
        if not text.startswith(RANDOM):
            return None
        _, key_id, _ = ciphertext.read(RANDOM, text)
        if self._keys.has(key_id):
            return self._own.decrypt(text, bound)
        entry = self._entries.get(subject_name(key_id))
        if entry is None:
            raise UnknownKeyError(key_id)
        return self._mode(key_id, entry).decrypt(text, bound)

    def _mode(self, key_id: int, entry: bytes) -> RandomMode:
        """Return what encrypts under a subject's key; remembered for a while."""
        known = self._known.get(entry)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            keyset = self._subjects.unwrap(key_id, entry)
            keys = FieldKeys(keyset, self._keys.scope, self._keys.field)
            known = self._known[entry] = RandomMode(keys, self._nonce)
        return known
