"""Masks: what is left of a value for those who may not see it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.masks import MARKER, looks_masked, mask


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("ada@example.edu", "a•••@•••"),
        ("Ä@x", "Ä•••@•••"),
        ("a@b@c", "a•••"),
        ("mail ada@x.edu", "m••• a•••"),
        ("@ada", "@•••"),
        ("Ada", "A•••"),
        ("Ada Lovelace", "A••• L•••"),
        ("  Ada\t\nLovelace ", "A••• L•••"),
        ("one two three four five", "o••• t••• t•••"),
        ("李 小龙", "李••• 小•••"),
        ("😀 x", "😀••• x•••"),
        ('"quoted"', '"•••'),
        ("", "•••"),
        (" \n", "•••"),
    ],
)
def test_strings_keep_initials(text: str, masked: str) -> None:
    """An address keeps one character, other text the initials of three words."""
    assert json.loads(mask(json.dumps(text))) == masked


@pytest.mark.parametrize(
    "leaf", ["null", "0", "-1.5", "true", "false", "[]", '["Ada"]', '{"a":"Ada"}']
)
def test_everything_else_is_null(leaf: str) -> None:
    """No number, boolean, array or object shows anything."""
    assert mask(leaf) == "null"


@given(st.text())
def test_every_masked_string_is_recognised(text: str) -> None:
    """A mask says that it is one, however long and strange the value was."""
    masked = json.loads(mask(json.dumps(text)))
    assert looks_masked(masked)
    assert len(masked.replace(MARKER, "")) <= 5


@pytest.mark.parametrize("text", ["", "Ada", "a • b", "••", "...", "***"])
def test_real_values_are_not_taken_for_masks(text: str) -> None:
    """Bullets in a text are no mask until there are three in a row."""
    assert not looks_masked(text)
