"""Fields: frozen, and which modes look-ups depend on."""

import dataclasses

import pytest

from proxy.core.field import Field, Mode


@pytest.mark.parametrize(
    ("mode", "keeps"),
    [
        (Mode.RANDOM, False),
        (Mode.DETERMINISTIC, True),
        (Mode.DIGITS, True),
        (Mode.PEPPER, True),
        (Mode.FERNET, False),
    ],
)
def test_equality_is_kept_where_something_is_found_by_it(
    mode: Mode, *, keeps: bool
) -> None:
    """Where equal values stay equal, another key would break look-ups."""
    assert mode.keeps_equality is keeps


def test_a_field_is_frozen() -> None:
    """Nobody changes how a field is encrypted while it is in force."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Field(id="a").mode = Mode.PEPPER  # type: ignore[misc]
