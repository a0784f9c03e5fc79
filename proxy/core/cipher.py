"""Encrypts and decrypts protected values, each as its field's mode says.

One small interface for every mode. What a mode is, and its bytes, is written in its own
file: ``mode_random``, ``mode_deterministic``, ``mode_digits``, ``mode_pepper`` and
``mode_fernet``; the texts that they share in ``ciphertext``.

Rules of this file, and of every mode:

1. Null stays null: an absent value has nothing to hide but its absence, and a backend
   must see that there is none.
2. Randomness is an argument, or drawn by the library where nobody could repeat it.
3. One key id selects one key; none is tried (but by Fernet, whose MAC tells).
4. Only declared fields decrypt, and no client may send what looks like a ciphertext:
   nobody has somebody else's ciphertext stored as his own, to read it back.
5. Every failure to decrypt is one refusal with one message; only observers are told
   which (``undecryptable``).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from cryptography.exceptions import InvalidTag

from proxy.core.ciphertext import key_name, looks_sealed
from proxy.core.entries import Entries, LostError, Name
from proxy.core.errors import Refused
from proxy.core.field import Field, Mode
from proxy.core.field_keys import FieldKeys, Scope
from proxy.core.keyring import Lease
from proxy.core.keyset import Keyset, UnknownKeyError
from proxy.core.leaf import NULL, text_of
from proxy.core.masks import looks_masked
from proxy.core.mode_deterministic import DeterministicMode, MailMode
from proxy.core.mode_digits import DigitsMode
from proxy.core.mode_fernet import FernetMode
from proxy.core.mode_pepper import PepperMode
from proxy.core.mode_random import RandomMode
from proxy.core.mode_subject import OWNED, SubjectKeys, SubjectMode
from proxy.core.mode_token import TokenMode
from proxy.core.pseudonyms import Pseudonyms
from proxy.core.reasons import Reason
from proxy.core.undecryptable import Failure, Undecryptable, WrongContextError
from proxy.core.xaes import NONCE_BYTES

__all__ = ["NONCE_BYTES", "Cipher", "FieldMode"]


class FieldMode(Protocol):
    """How the values of one field are encrypted.

    ``bound`` is what a value is bound to besides its field; modes that have no room for
    it do not look at it, and no field of theirs may ask for it.
    """

    def encrypt(self, leaf: str, text: str | None, bound: bytes) -> str:
        """Return the string that is stored for a leaf which is not null.

        Args:
            leaf: the JSON text of the value.
            text: the value, if it is a string.
            bound: see above.
        """
        ...

    def recognises(self, text: str) -> bool:
        """Tell whether a string is sure to be a ciphertext of this mode."""
        ...

    def decrypt(self, text: str, bound: bytes) -> str | None:
        """Return the leaf of a stored string; None if it was not encrypted."""
        ...


class Cipher:
    """Encrypts and decrypts the values of all fields of a policy, for one tenant.

    Args:
        keyset: the keys.
        scope: whose values; bound into every ciphertext.
        fields: the fields, by their id.
        nonce: returns 24 random bytes, fresh at every call.
        lease: while it is not valid, nothing is encrypted.
        known: tells whether another tenant has a key of this id.
        shared: the keys of fields that all tenants share; None for ``keyset``.

    Attributes:
        entries: what is in the keystore of the message that is being changed.
        subjects: wraps the keys of subjects.

    Raises:
        ValueError: a field names a key that is not there, or does not name one and
            must. The sentence is for people.
    """

    __slots__ = (
        *("_encrypting", "_known", "_lease", "_modes", "_pseudonyms", "_readers"),
        *("_vaulted", "entries", "subjects"),
    )

    def __init__(
        self,
        keyset: Keyset,
        scope: Scope,
        fields: Mapping[str, Field],
        nonce: Callable[[], bytes],
        *,
        lease: Lease | None = None,
        known: Callable[[int], bool] = lambda _: False,
        shared: Keyset | None = None,
    ) -> None:
        self._lease = lease or Lease()
        self._known = known
        self._modes: dict[str, FieldMode] = {}
        self._readers: dict[str, tuple[FieldMode, ...]] = {}
        self._pseudonyms: dict[str, Pseudonyms] = {}
        self._encrypting: dict[str, str] = {}
        self.entries = Entries()
        owned = FieldKeys(keyset, scope, OWNED)
        self.subjects = SubjectKeys(owned, nonce)
        self._vaulted: dict[str, TokenMode | SubjectMode] = {}
        for name, field in fields.items():
            keys = FieldKeys(keyset, scope, field)
            if field.shared and shared is not None:
                keys = FieldKeys(shared, Scope(scope.deployment), field)
            mode = self._vault(keys, nonce) or _make(field)(keys, keyset, nonce)
            older = sorted(field.reads, key=lambda mode: mode.value)
            self._modes[name] = mode
            self._encrypting[name] = f"{keys.encrypting:08x}"
            self._pseudonyms[name] = Pseudonyms(keys)
            self._readers[name] = (
                mode,
                *(_UNSHAPED[one](keys, keyset, nonce) for one in older),
            )

    def _vault(self, keys: FieldKeys, nonce: Callable[[], bytes]) -> FieldMode | None:
        """Make the mode of a field that has something in the keystore."""
        made: TokenMode | SubjectMode
        if keys.field.mode is Mode.TOKEN:
            made = TokenMode(keys, nonce, self.entries)
        elif keys.field.subject is not None:
            made = SubjectMode(keys, nonce, self.entries, self.subjects)
        else:
            return None
        self._vaulted[keys.field.id] = made
        return made

    def asks(self, field: str, leaf: str) -> Name | None:
        """Return the entry of the keystore that decrypting a leaf needs."""
        mode, text = self._vaulted.get(field), text_of(leaf)
        return None if mode is None or text is None else mode.asks(text)

    def encrypt(self, field: str, leaf: str, bound: bytes = b"") -> str:
        """Encrypt the JSON text of a value; the result is the JSON text of a string.

        Args:
            field: the logical field.
            leaf: the JSON text of any value, without white space around it.
            bound: what it has to be decrypted with again, where the field asks for it.

        Raises:
            Refused: CIPHERTEXT_IN_REQUEST, MASK_IN_REQUEST, FIELD_UNENCRYPTABLE or
                KEYS_UNAVAILABLE.
            ValueError: a string holds half of a surrogate pair.
        """
        if leaf == NULL:
            return leaf
        # No mode returns a character that JSON escapes.
        return f'"{self._encrypted(field, leaf, text_of(leaf), bound)}"'

    def encrypt_text(self, field: str, text: str, bound: bytes = b"") -> str:
        """Encrypt a string that stands outside JSON, as ``encrypt`` does in JSON.

        Where equal values have equal ciphertexts, this is what a look-up asks for.

        Raises:
            Refused: as ``encrypt``.
            ValueError: the string holds half of a surrogate pair.
        """
        return self._encrypted(field, "", text, bound)

    def _encrypted(self, field: str, leaf: str, text: str | None, bound: bytes) -> str:
        if not self._lease.valid:
            raise Refused(Reason.KEYS_UNAVAILABLE)
        if text is not None:
            if looks_sealed(text) or any(
                reader.recognises(text) for reader in self._readers[field]
            ):
                raise Refused(Reason.CIPHERTEXT_IN_REQUEST, f"The field is {field}.")
            if looks_masked(text):
                raise Refused(Reason.MASK_IN_REQUEST, f"The field is {field}.")
        return self._modes[field].encrypt(leaf, text, bound)

    def decrypt(self, field: str, leaf: str, bound: bytes = b"") -> str:
        """Decrypt what ``encrypt`` returned, to the JSON text that it was given.

        A string comes back with its value, normalised where its mode does that; its
        escapes may be spelled another way.

        Returns:
            The leaf itself, the same object, if it is no ciphertext: it was stored
            before the proxy came.

        Raises:
            Undecryptable: whatever the cause; it says which.
        """
        text = text_of(leaf)
        if text is None:
            return leaf
        readers = self._readers[field]
        try:
            plain = _first_answer(readers, text, bound)
        except LostError:
            raise Undecryptable(field, Failure.KMS_UNAVAILABLE) from None
        except WrongContextError:
            raise Undecryptable(field, Failure.WRONG_CONTEXT) from None
        except UnknownKeyError as error:
            # Whose key it is says whose value it is.
            known = self._known(error.args[0])
            failure = Failure.WRONG_CONTEXT if known else Failure.UNKNOWN_KEY
            raise Undecryptable(field, failure) from None
        except InvalidTag:
            moved = self._is_another_fields(field, text)
            failure = Failure.WRONG_CONTEXT if moved else Failure.BAD_TAG
            raise Undecryptable(field, failure) from None
        except (KeyError, ValueError):
            raise Undecryptable(field, Failure.BAD_TAG) from None
        if plain is not None:
            return plain
        if looks_sealed(text):  # of another mode, or another version
            moved = self._is_another_fields(field, text)
            failure = Failure.WRONG_CONTEXT if moved else Failure.BAD_TAG
            raise Undecryptable(field, failure)
        return leaf

    def _is_another_fields(self, field: str, text: str) -> bool:
        """Tell whether what one field cannot decrypt another one can.

        Looked for after a failure only, so that somebody notices who moves values.
        """
        for name, mode in self._modes.items():
            if name != field and mode.recognises(text):
                try:
                    mode.decrypt(text, b"")
                except (InvalidTag, KeyError, LostError, ValueError):
                    continue
                return True
        return False

    def key(self, field: str, leaf: str | None = None) -> str:
        """Return the id of a key, in eight hex digits, for those who count.

        Args:
            field: the logical field.
            leaf: a ciphertext, to say which key it names; None for the key that
                encrypts. What names none counts for that one.
        """
        named = None if leaf is None else key_name(leaf)
        return named or self._encrypting[field]

    def pseudonym(self, field: str, leaf: str, role: str) -> str:
        """Return what stands for a decrypted leaf when a role may only compare it."""
        return self._pseudonyms[field].of(leaf, role)


def _first_answer(readers: Iterable[FieldMode], text: str, bound: bytes) -> str | None:
    for reader in readers:
        plain = reader.decrypt(text, bound)
        if plain is not None:
            return plain
    return None


_Make = Callable[[FieldKeys, Keyset, Callable[[], bytes]], FieldMode]

_UNSHAPED: Mapping[Mode, _Make] = {
    Mode.RANDOM: lambda keys, _, nonce: RandomMode(keys, nonce),
    Mode.DETERMINISTIC: lambda keys, *_: DeterministicMode(keys),
    Mode.DIGITS: lambda keys, *_: DigitsMode(keys),
    Mode.PEPPER: lambda keys, *_: PepperMode(keys),
    Mode.FERNET: lambda keys, keyset, _: FernetMode(keys, keyset.fernet()),
}


def _make(field: Field) -> _Make:
    """Return what makes the mode that encrypts a field."""
    if field.mail_domain is not None:
        return lambda keys, *_: MailMode(keys)
    return _UNSHAPED[field.mode]
