"""Pseudonyms: stable for a value, another for all else, never taken for a value."""

import itertools
import json
import re

import pytest

from proxy.core.masks import looks_masked
from tests.cipher_builders import FIELD, NEW, OLD, a_cipher, a_field


def pseudonym(leaf: str, role: str = "researcher", **where: object) -> str:
    """Return the pseudonym of a leaf."""
    return a_cipher(a_field(), **where).pseudonym(FIELD, leaf, role)  # type: ignore[arg-type]


@pytest.mark.parametrize("leaf", ['"Ada"', '""', "42", "true", '["a"]', '{"a": 1}'])
def test_a_value_has_one_pseudonym(leaf: str) -> None:
    """The same value has the same pseudonym, which is recognised when it comes back."""
    text = json.loads(pseudonym(leaf))

    assert pseudonym(leaf) == pseudonym(leaf)
    assert re.fullmatch(r"•••[a-z2-7]{16}", text)
    assert looks_masked(text)


def test_null_has_none() -> None:
    """Absence is not hidden."""
    assert pseudonym("null") == "null"


def test_spelling_does_not_matter_to_a_string() -> None:
    """A string is its value, however it was escaped."""
    assert pseudonym('"\\u0041da"') == pseudonym('"Ada"')


def test_everything_else_has_another_pseudonym() -> None:
    """Value, type, role, key, deployment and tenant are in it."""
    names = [
        pseudonym('"42"'),
        pseudonym("42"),
        pseudonym('"43"'),
        pseudonym('"42"', "student"),
        pseudonym('"42"', ""),
        pseudonym('"42"', roots=(OLD,)),
        pseudonym('"42"', deployment="other"),
        pseudonym('"42"', tenant="other"),
    ]

    assert len(set(names)) == len(names)


def test_role_and_value_are_kept_apart() -> None:
    """No two ways to cut one text into role and value share a pseudonym."""
    texts = itertools.product(["", "a", "ab", "as"], ["", "b", "sb", "ba"])

    assert len({pseudonym(json.dumps(text), role) for role, text in texts}) == 16


def test_fields_have_pseudonyms_of_their_own() -> None:
    """The same value in two fields cannot be joined."""
    ours = a_cipher(a_field(name="a"), a_field(name="b"), roots=(NEW,))

    assert ours.pseudonym("a", '"Ada"', "r") != ours.pseudonym("b", '"Ada"', "r")
