"""Tokens stand for values in the keystore, and say nothing themselves."""

import json
import os
import re

import pytest

from proxy.core.cipher import Cipher
from proxy.core.entries import Name
from proxy.core.errors import Refused
from proxy.core.field import Field, Mode
from proxy.core.reasons import Reason
from proxy.core.undecryptable import Failure, Undecryptable
from tests.cipher_builders import FIELD, NEW, OLD, a_cipher

VALUES = ['"DE89 3704 0044"', '""', "42", "true", '["a"]', '"é\\n"']


def a_token_field(**more: object) -> Field:
    """Build a field of this mode."""
    return Field(id=FIELD, mode=Mode.TOKEN, **more)  # type: ignore[arg-type]


def tokens(cipher: Cipher, *leaves: str) -> tuple[list[str], dict[Name, bytes]]:
    """Return the tokens of values, and what has to be stored."""
    cipher.entries.give({})
    made = [cipher.encrypt(FIELD, leaf) for leaf in leaves]
    return made, dict(cipher.entries.new)


def ours(**more: object) -> Cipher:
    """Build a cipher with one field."""
    return a_cipher(a_token_field(**more), nonce=lambda: os.urandom(24))


@pytest.mark.parametrize("leaf", VALUES)
def test_a_value_comes_back_with_its_type(leaf: str) -> None:
    """From what the keystore has under its token."""
    cipher = ours()
    [token], stored = tokens(cipher, leaf)
    asked = cipher.asks(FIELD, token)
    cipher.entries.give(stored)

    assert asked in stored
    assert json.loads(cipher.decrypt(FIELD, token)) == json.loads(leaf)


@pytest.mark.parametrize(("most", "length"), [(None, 32), (16, 16), (24, 24), (99, 32)])
def test_a_token_is_as_long_as_its_column(most: int | None, length: int) -> None:
    """Of characters that no collation and no form changes, and another every time."""
    made, stored = tokens(ours(token_length=most), *['"Ada"'] * 200)

    assert len(set(made)) == len(stored) == 200
    assert all(re.fullmatch(rf'"[a-z2-7]{{{length}}}"', one) for one in made)
    assert all(entry.startswith(b"lm1r") for entry in stored.values())


def test_what_the_keystore_does_not_know_is_older_plaintext() -> None:
    """A word that looks like a token, and one that does not."""
    cipher = ours()
    cipher.entries.give({})
    for leaf in ('"abcdefghijklmnop"', '"Ada Lovelace"', '"short"', "42"):
        assert cipher.decrypt(FIELD, leaf) is leaf
    assert cipher.asks(FIELD, '"Ada Lovelace"') is None
    assert cipher.asks(FIELD, "42") is None


def test_a_token_from_a_client_is_a_value_like_any_other() -> None:
    """Nobody has somebody else's token stored as his own, to read its value."""
    cipher = ours()
    [token], _ = tokens(cipher, '"secret"')
    [mine], stored = tokens(cipher, token)
    cipher.entries.give(stored)

    assert mine != token
    assert cipher.decrypt(FIELD, mine) == token


def test_when_nobody_answers_it_fails_and_is_not_shown() -> None:
    """As kms-unavailable, and not as older plaintext."""
    cipher = ours()
    [token], _ = tokens(cipher, '"secret"')
    cipher.entries.give(None)
    with pytest.raises(Undecryptable) as caught:
        cipher.decrypt(FIELD, token)

    assert caught.value.failure is Failure.KMS_UNAVAILABLE


def test_an_entry_that_is_moved_does_not_decrypt() -> None:
    """To another field, tenant or key: what the keystore has is bound as ever."""
    cipher = ours()
    [token], stored = tokens(cipher, '"secret"')
    [entry] = stored.values()
    others = [
        a_cipher(a_token_field(), tenant="north"),
        a_cipher(a_token_field(), roots=(OLD,)),
        a_cipher(a_token_field(), deployment="other"),
    ]
    for other in others:
        name = other.asks(FIELD, token)
        assert name
        other.entries.give({name: entry})
        with pytest.raises(Undecryptable):
            other.decrypt(FIELD, token)


def test_a_value_that_is_too_long_is_refused() -> None:
    """As the policy says."""
    cipher = ours(max_bytes=4)
    with pytest.raises(Refused) as caught:
        tokens(cipher, '"longer"')

    assert caught.value.reason is Reason.FIELD_UNENCRYPTABLE


def test_a_value_may_be_bound_nowhere_by_default() -> None:
    """The key that seals entries is the tenant's, and named in them."""
    cipher = ours()
    tokens(cipher, '"Ada"')

    assert cipher.key(FIELD) == f"{int(a_cipher(roots=(NEW,)).key(FIELD), 16):08x}"
