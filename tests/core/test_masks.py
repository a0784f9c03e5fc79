"""Masks: what is left of a value for those who may not see it."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.masks import (
    HIDDEN,
    MARKER,
    looks_masked,
    mask,
    mask_email,
    mask_fixed,
    mask_initials,
    mask_last4,
    mask_year,
)

MASKS = (mask, mask_email, mask_initials, mask_last4, mask_year, mask_fixed)


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


@pytest.mark.parametrize("hide", MASKS[:-1], ids=lambda hide: hide.__name__)
@pytest.mark.parametrize(
    "leaf", ["null", "0", "-1.5", "true", "false", "[]", '["Ada"]', '{"a":"Ada"}']
)
def test_everything_else_is_null(hide: Callable[[str], str], leaf: str) -> None:
    """No number, boolean, array or object shows anything."""
    assert hide(leaf) == "null"


@pytest.mark.parametrize("leaf", ["0", "true", "[]", '""', '"Ada"', '{"a":"Ada"}'])
def test_a_fixed_mask_is_always_the_same(leaf: str) -> None:
    """Neither length nor type is seen; only whether there is a value at all."""
    assert mask_fixed(leaf) == '"•••"'
    assert mask_fixed("null") == "null"


@pytest.mark.parametrize(
    ("hide", "text", "masked"),
    [
        (mask_email, "ada@example.edu", "a•••@•••"),
        (mask_email, "Ada Lovelace", "•••"),
        (mask_initials, "ada@example.edu", "a•••"),
        (mask_initials, "Ada King Lovelace", "A••• K••• L•••"),
        (mask_last4, "DE89370400440532013000", "•••3000"),
        (mask_last4, "12345678", "•••5678"),
        (mask_last4, "1234567", "•••"),
        (mask_last4, "", "•••"),
        (mask_year, "1815-12-10", "1815•••"),
        (mask_year, "1815-12", "1815•••"),
        (mask_year, "1815-12-10T10:00:00Z", "1815•••"),
        (mask_year, "1815-12-10 10:00", "1815•••"),
        (mask_year, "1815", "•••"),
        (mask_year, "10.12.1815", "•••"),
        (mask_year, "1815-12-10abc", "•••"),
        (mask_year, "18\uff11\uff15-12-10", "•••"),
    ],
)
def test_masks_keep_what_they_say(
    hide: Callable[[str], str], text: str, masked: str
) -> None:
    """A mask for one kind of value shows nothing of another kind."""
    assert json.loads(hide(json.dumps(text))) == masked


@pytest.mark.parametrize("hide", MASKS, ids=lambda hide: hide.__name__)
@given(text=st.text())
def test_every_masked_string_is_recognised(
    hide: Callable[[str], str], text: str
) -> None:
    """A mask says that it is one, however long and strange the value was."""
    masked = json.loads(hide(json.dumps(text)))
    assert HIDDEN in masked
    assert looks_masked(masked)
    assert len(masked.replace(MARKER, "")) <= 5


@pytest.mark.parametrize("text", ["", "Ada", "a • b", "••", "...", "***"])
def test_real_values_are_not_taken_for_masks(text: str) -> None:
    """Bullets in a text are no mask until there are three in a row."""
    assert not looks_masked(text)
