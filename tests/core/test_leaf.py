"""Leaves as plaintexts: the type is in the first byte, and comes back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.leaf import pack, text_of, unpack, write


@pytest.mark.parametrize(
    ("leaf", "text", "plaintext"),
    [
        ('"Ada"', "Ada", b"sAda"),
        (r'"\u0041\n"', "A\n", b"sA\n"),
        ('""', "", b"s"),
        ("42", None, b"j42"),
        ("null", None, b"jnull"),
        ('"null"', "null", b"snull"),
        ("[ 1 ]", None, b"j[ 1 ]"),
    ],
)
def test_a_plaintext_has_its_type_first(
    leaf: str, text: str | None, plaintext: bytes
) -> None:
    """A string is its value; every other value is its JSON text."""
    assert text_of(leaf) == text
    assert pack(leaf, text_of(leaf)) == plaintext
    assert json.loads(unpack(plaintext)) == json.loads(leaf)


@given(st.text() | st.integers() | st.lists(st.booleans(), max_size=3))
def test_values_come_back(value: Any) -> None:
    """Whatever the value, packing and unpacking restores it."""
    leaf = json.dumps(value)

    assert json.loads(unpack(pack(leaf, text_of(leaf)))) == value


@pytest.mark.parametrize("plaintext", [b"", b"zAda", b"S"])
def test_an_unknown_type_is_not_guessed(plaintext: bytes) -> None:
    """What a later version writes is an error here."""
    with pytest.raises(KeyError):
        unpack(plaintext)


def test_half_a_character_cannot_be_packed() -> None:
    """What has no UTF-8 is an error; what is no UTF-8 is none either."""
    with pytest.raises(UnicodeEncodeError):
        pack("", "\ud800")
    with pytest.raises(UnicodeDecodeError):
        unpack(b"s\xff")


def test_strings_are_written_with_the_fewest_escapes() -> None:
    """Only what JSON demands is escaped."""
    assert write('é😀/\u2028"\\\n\x00') == '"é😀/\u2028\\"\\\\\\n\\u0000"'
