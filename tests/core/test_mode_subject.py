"""Every subject has a key, and without it nobody reads what is theirs."""

import os

import pytest

from proxy.core.cipher import Cipher
from proxy.core.entries import Name, owner_name, subject_name
from proxy.core.errors import Refused
from proxy.core.field import Bind, Field, Source
from proxy.core.reasons import Reason
from proxy.core.undecryptable import Failure, Undecryptable
from tests.cipher_builders import FIELD, OLD, a_cipher, a_field

SUBJECT = Bind(Source.CLAIM, "sub")
INDEX = b"index key"


def an_owned_field(name: str = FIELD) -> Field:
    """Build a field whose values belong to subjects."""
    return Field(id=name, subject=SUBJECT)


class People:
    """A keystore's entries of subjects, and a cipher that uses them."""

    def __init__(self, cipher: Cipher | None = None) -> None:
        self.cipher = cipher or a_cipher(an_owned_field())
        self.entries: dict[Name, bytes] = {}

    def add(self, subject: str) -> int:
        """Give a subject a key; return its id."""
        key_id, sealed = self.cipher.subjects.wrap(os.urandom(32))
        self.entries[subject_name(key_id)] = sealed
        owner = owner_name(INDEX, "", subject)
        self.entries[owner] = key_id.to_bytes(4, "big") + sealed
        return key_id

    def encrypt(self, subject: str, leaf: str = '"dear"') -> str:
        """Encrypt a value of a subject."""
        owner = self.entries[owner_name(INDEX, "", subject)]
        self.cipher.entries.give({}, {FIELD: owner})
        return self.cipher.encrypt(FIELD, leaf)

    def decrypt(self, leaf: str) -> str:
        """Decrypt with what the keystore has."""
        name = self.cipher.asks(FIELD, leaf)
        entry = self.entries.get(name) if name else None
        self.cipher.entries.give({name: entry} if name and entry else {})
        return self.cipher.decrypt(FIELD, leaf)

    def failure(self, leaf: str) -> Failure:
        """Return why a value does not decrypt."""
        with pytest.raises(Undecryptable) as caught:
            self.decrypt(leaf)
        return caught.value.failure


def test_each_subject_has_a_key() -> None:
    """Named in the ciphertext, and everybody's values come back."""
    people = People()
    ids = {name: f"{people.add(name):08x}" for name in ("ada", "bob")}
    sealed = {name: people.encrypt(name) for name in ids}

    for name, leaf in sealed.items():
        assert people.cipher.key(FIELD, leaf) == ids[name]
        assert people.decrypt(leaf) == '"dear"'


def test_a_forgotten_subject_is_read_by_nobody() -> None:
    """The values are unreadable as soon as the entry is gone; others' stay."""
    people = People()
    key_id = people.add("ada")
    people.add("bob")
    ada, bob = people.encrypt("ada"), people.encrypt("bob")
    del people.entries[subject_name(key_id)]

    assert people.failure(ada) is Failure.UNKNOWN_KEY
    assert people.decrypt(bob) == '"dear"'


def test_values_of_before_stay_readable() -> None:
    """Those under the tenant's own key ask for no entry."""
    people = People()
    before = a_cipher(a_field()).encrypt(FIELD, '"dear"')

    assert people.cipher.asks(FIELD, before) is None
    assert people.decrypt(before) == '"dear"'
    plain = '"older"'
    assert people.decrypt(plain) is plain


@pytest.mark.parametrize("leaf", ['"lm1rAAAA"', '"lm1r!"', '"lm1d"', "42"])
def test_what_is_no_ciphertext_asks_for_nothing(leaf: str) -> None:
    """And fails, or passes, as ever."""
    assert People().cipher.asks(FIELD, leaf) is None


def test_a_subjects_key_opens_under_its_tenant_alone() -> None:
    """An entry that is moved to another id or tenant is of no use."""
    people = People()
    ada, bob = people.add("ada"), people.add("bob")
    leaf = people.encrypt("bob")
    people.entries[subject_name(bob)] = people.entries[subject_name(ada)]
    assert people.failure(leaf) is Failure.WRONG_CONTEXT
    north = People(a_cipher(an_owned_field(), tenant="north"))
    north.entries = people.entries

    assert north.failure(leaf) is Failure.WRONG_CONTEXT
    other = People(a_cipher(an_owned_field(), roots=(OLD,)))
    other.entries = people.entries
    assert other.failure(leaf) is Failure.UNKNOWN_KEY


def test_when_nobody_answers_it_is_said() -> None:
    """A lost keystore is not a forgotten subject."""
    people = People()
    people.add("ada")
    leaf = people.encrypt("ada")
    people.cipher.entries.give(None)
    with pytest.raises(Undecryptable) as caught:
        people.cipher.decrypt(FIELD, leaf)

    assert caught.value.failure is Failure.KMS_UNAVAILABLE


def test_without_a_subject_nothing_is_encrypted() -> None:
    """There is no key that would be fit instead."""
    people = People()
    people.cipher.entries.give({})
    with pytest.raises(Refused) as caught:
        people.cipher.encrypt(FIELD, '"dear"')

    assert caught.value.reason is Reason.KEYS_UNAVAILABLE


def test_keys_are_remembered_up_to_a_bound() -> None:
    """Many subjects fill no memory, and each still reads."""
    people = People()
    sealed = []
    for n in range(300):
        people.add(str(n))
        sealed.append(people.encrypt(str(n)))

    assert all(people.decrypt(leaf) == '"dear"' for leaf in sealed)
