"""Mode pepper: passwords that only this proxy can compute, and that never come back."""

import json
import re

import pytest
from hypothesis import given

from proxy.core.mode_pepper import LENGTH
from proxy.core.reasons import Reason
from tests.cipher_builders import (
    FIELD,
    NEW,
    OLD,
    a_cipher,
    a_field,
    not_encrypted,
    texts,
)


def peppered(password: str, **where: object) -> str:
    """Return what a password becomes."""
    return a_cipher(a_field("pepper"), **where).encrypt_text(FIELD, password)  # type: ignore[arg-type]


@given(texts(max_size=80).filter(lambda text: len(text) >= 8))
def test_any_password_satisfies_rules_and_bcrypt(password: str) -> None:
    """68 ASCII characters of every class, which is less than bcrypt's 72 bytes."""
    result = peppered(password)

    assert len(result.encode()) == LENGTH == 68
    assert re.fullmatch(r"Aa1![A-Za-z0-9_-]{64}", result)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caf\u00e9-au-lait", "cafe\u0301-au-lait"),
        ("caf\u00e9 au lait", "caf\u00e9\u00a0au\u3000lait"),
    ],
    ids=["composed", "spaces"],
)
def test_keyboards_that_differ_type_the_same_password(one: str, other: str) -> None:
    """RFC 8265: canonically equal characters and other spaces count as the same."""
    assert peppered(one) == peppered(other)


@pytest.mark.parametrize("other", ["Correct horse", "correct horse ", " correct horse"])
def test_nothing_else_is_the_same(other: str) -> None:
    """Case and white space count in a password."""
    assert peppered("correct horse") != peppered(other)


def test_key_and_place_are_in_it() -> None:
    """Another key, deployment or tenant makes another password of the same."""
    results = {
        peppered("correct horse", roots=(NEW,)),
        peppered("correct horse", roots=(OLD,)),
        peppered("correct horse", deployment="other"),
        peppered("correct horse", tenant="other"),
    }

    assert len(results) == 4


def test_nothing_comes_back() -> None:
    """What looks like a result is returned as it is: there is no way back."""
    leaf = json.dumps(peppered("correct horse"))

    assert a_cipher(a_field("pepper")).decrypt(FIELD, leaf) is leaf


@pytest.mark.parametrize(
    "leaf", ['"short"', '"1234567"', "12345678", "true", "[]", "{}"]
)
def test_short_and_strange_passwords_are_refused(leaf: str) -> None:
    """The backend sees 68 characters, so the proxy counts them."""
    reason, detail = not_encrypted(a_cipher(a_field("pepper")), leaf)

    assert reason is Reason.FIELD_UNENCRYPTABLE
    assert detail.startswith(f"The field is {FIELD}: a password ")


def test_the_shortest_password_is_the_policys() -> None:
    """min_length counts characters, not bytes."""
    ours = a_cipher(a_field("pepper", min_length=12))

    assert len(ours.encrypt_text(FIELD, "é" * 12)) == LENGTH
    assert "12 characters or more" in not_encrypted(ours, json.dumps("é" * 11))[1]


def test_an_empty_password_stays_empty() -> None:
    """It means that nobody may log in, and must not become a password."""
    assert a_cipher(a_field("pepper")).encrypt(FIELD, '""') == '""'
