"""One form for every way to write a string."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.field import Step
from proxy.core.normalise import normalise

ALL = frozenset(Step)


@pytest.mark.parametrize(
    ("text", "steps", "expected"),
    [
        (" Ada\u2003", {Step.STRIP}, "Ada"),
        ("Ada", set(), "Ada"),
        ("ADA", {Step.LOWER}, "ada"),
        ("ADA", {Step.CASEFOLD}, "ada"),
        ("STRASSE ß", {Step.LOWER}, "strasse ß"),
        ("STRASSE ß", {Step.CASEFOLD}, "strasse ss"),
        ("e\u0301", {Step.NFC}, "\u00e9"),
        ("e\u0301", {Step.STRIP, Step.LOWER}, "e\u0301"),
        ("\u2126", {Step.NFC}, "\u03a9"),
        ("\u2126", {Step.NFC, Step.LOWER}, "\u03c9"),
        ("\u0345\u0301", {Step.NFC, Step.CASEFOLD}, "\u0301\u03b9"),
    ],
)
def test_steps_do_what_they_say(text: str, steps: set[Step], expected: str) -> None:
    """Each step on its own and together, in the one order there is."""
    assert normalise(text, steps) == expected


@given(st.text(), st.sets(st.sampled_from(Step)))
def test_a_normalised_string_stays_as_it_is(text: str, steps: set[Step]) -> None:
    """Normalising what came back changes nothing, so it is found again."""
    once = normalise(text, steps)

    assert normalise(once, steps) == once


@given(st.text())
def test_canonically_equal_strings_become_the_same(text: str) -> None:
    """Composed and decomposed forms of a string have one form."""
    forms = {unicodedata.normalize(form, text) for form in ("NFC", "NFD")}

    assert len({normalise(form, ALL) for form in forms}) == 1
