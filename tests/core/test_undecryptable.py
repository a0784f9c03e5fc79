"""Why a value does not decrypt: clients learn nothing of it, observers all."""

import base64
import json

import pytest

from proxy.core.errors import Refused
from proxy.core.reasons import Reason
from proxy.core.undecryptable import Failure, Undecryptable
from tests.cipher_builders import FIELD, NEW, OLD, SAMPLES, a_cipher, a_field

FIRST_OF_A_MESSAGE = 6


def failure_of(cipher_kind: str, leaf: str, **made: object) -> Failure:
    """Return why a leaf does not decrypt."""
    fields = (a_field(cipher_kind), a_field(cipher_kind, name="user.other"))
    ours = a_cipher(*fields, **made)  # type: ignore[arg-type]
    with pytest.raises(Undecryptable) as caught:
        ours.decrypt(FIELD, leaf)
    return caught.value.failure


def damaged(leaf: str, at: int) -> str:
    """Return a ciphertext with another byte somewhere in its message."""
    text = json.loads(leaf)
    body = text[4:]
    message = bytearray(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    message[at] ^= 1
    return f'"{text[:4]}{base64.urlsafe_b64encode(message).decode().rstrip("=")}"'


@pytest.mark.parametrize("failure", Failure, ids=lambda one: one.value)
def test_clients_learn_that_it_failed_and_no_more(failure: Failure) -> None:
    """Whatever failed, the refusal reads the same."""
    refused = Undecryptable(FIELD, failure)

    assert isinstance(refused, Refused)
    assert refused.failure is failure
    assert str(refused) == f"field-undecryptable: The field is {FIELD}."
    assert refused.reason is Reason.FIELD_UNDECRYPTABLE


@pytest.mark.parametrize("kind", ["committing", "compact", "deterministic", "mail"])
def test_a_key_that_is_not_there(kind: str) -> None:
    """What names a key that nobody has fails as unknown-key."""
    leaf = a_cipher(a_field(kind), roots=(OLD,)).encrypt(FIELD, SAMPLES[kind])

    assert failure_of(kind, leaf, roots=(NEW,)) is Failure.UNKNOWN_KEY


@pytest.mark.parametrize("kind", ["committing", "compact", "deterministic", "mail"])
def test_a_value_of_another_field(kind: str) -> None:
    """What another field of the policy decrypts was moved: wrong-context."""
    other = a_field(kind, name="user.other")
    leaf = a_cipher(other).encrypt("user.other", SAMPLES[kind])

    assert failure_of(kind, leaf) is Failure.WRONG_CONTEXT


@pytest.mark.parametrize("made", [{"deployment": "x"}, {"tenant": "x"}], ids=str)
def test_a_value_of_another_place(made: dict[str, str]) -> None:
    """A commitment that differs tells another tenant from damage."""
    leaf = a_cipher().encrypt(FIELD, '"Ada"')

    assert failure_of("committing", leaf, **made) is Failure.WRONG_CONTEXT


@pytest.mark.parametrize("kind", ["committing", "compact", "deterministic"])
def test_a_value_that_was_changed(kind: str) -> None:
    """A byte that was changed is a bad tag."""
    leaf = a_cipher(a_field(kind)).encrypt(FIELD, SAMPLES[kind])

    assert failure_of(kind, damaged(leaf, -1)) is Failure.BAD_TAG


def test_a_value_that_was_cut() -> None:
    """What is no whole message is a bad tag, before any key is asked."""
    assert failure_of("committing", '"lm1rAAAA"') is Failure.BAD_TAG


def test_a_ciphertext_of_another_mode() -> None:
    """A field that no longer has the mode says whether another one has."""
    leaf = a_cipher(a_field("deterministic")).encrypt(FIELD, '"Ada"')

    assert failure_of("committing", leaf) is Failure.BAD_TAG
    moved = a_cipher(a_field(), a_field("deterministic", name="user.login"))
    stored = moved.encrypt("user.login", '"Ada"')
    with pytest.raises(Undecryptable) as caught:
        moved.decrypt(FIELD, stored)

    assert caught.value.failure is Failure.WRONG_CONTEXT


def test_a_key_of_another_tenant() -> None:
    """A key that somebody else has says that the value is theirs."""
    leaf = a_cipher(roots=(OLD,)).encrypt(FIELD, '"Ada"')

    assert failure_of("committing", leaf, known=lambda _: True) is (
        Failure.WRONG_CONTEXT
    )
