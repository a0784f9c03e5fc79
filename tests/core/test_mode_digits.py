"""Mode digits: what is taken, what stays in place, what cannot be told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.reasons import Reason
from tests.cipher_builders import FIELD, a_cipher, a_field, not_encrypted

SIGNS = " +-./()"


@given(
    st.text(alphabet="0123456789" + SIGNS, max_size=80).filter(
        lambda t: 6 <= sum(one.isdigit() for one in t) <= 64
    )
)
def test_digits_come_back_and_signs_stay(text: str) -> None:
    """The result has the same form, digit for digit and sign for sign."""
    ours = a_cipher(a_field("digits"))
    stored = ours.encrypt_text(FIELD, text)

    assert [one in SIGNS and one for one in stored] == [
        one in SIGNS and one for one in text
    ]
    assert json.loads(ours.decrypt(FIELD, json.dumps(stored))) == text


def test_signs_do_not_matter_to_the_digits() -> None:
    """One number in two spellings has the same digits in the store."""
    ours = a_cipher(a_field("digits"))
    spellings = ["+49301234567", "+49 (30) 1234-567", "49.30.1234567"]
    stored = [ours.encrypt_text(FIELD, one) for one in spellings]

    assert len({"".join(filter(str.isdigit, one)) for one in stored}) == 1
    assert stored[0] != spellings[0]


@pytest.mark.parametrize(
    "leaf",
    [
        '"12345"',
        f'"{"1" * 65}"',
        '"+()"',
        '"1234567a"',
        '"\uff11\uff12\uff13\uff14\uff15\uff16"',
        '"123\\n456"',
        "1234567",
        "true",
        "[1234567]",
    ],
)
def test_what_is_no_number_is_refused(leaf: str) -> None:
    """Fewer than a million values, other characters and other types are refused."""
    reason, detail = not_encrypted(a_cipher(a_field("digits")), leaf)

    assert reason is Reason.FIELD_UNENCRYPTABLE
    assert detail == f"The field is {FIELD}: it takes a string of 6 to 64 digits."


@pytest.mark.parametrize("leaf", ['"12345"', '"abc"', "1234567", '"+"', "null", "{}"])
def test_what_cannot_have_been_encrypted_passes(leaf: str) -> None:
    """Older values of another form are returned as they are."""
    assert a_cipher(a_field("digits")).decrypt(FIELD, leaf) is leaf


def test_fields_have_permutations_of_their_own() -> None:
    """Equal digits of two fields are not equal in the store."""
    ours = a_cipher(a_field("digits", "user.phone"), a_field("digits", "user.id"))
    stored = {ours.encrypt_text(name, "1234567") for name in ("user.phone", "user.id")}

    assert len(stored) == 2


def test_an_empty_string_stays_empty() -> None:
    """A backend that says "not set" with one goes on doing so."""
    assert a_cipher(a_field("digits")).encrypt(FIELD, '""') == '""'
