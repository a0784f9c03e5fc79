"""The text of ciphertexts: one spelling, a header, and how much fits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.ciphertext import (
    DETERMINISTIC,
    RANDOM,
    header,
    key_name,
    length,
    longest,
    looks_sealed,
    read,
    write,
)


@given(
    st.sampled_from([RANDOM, DETERMINISTIC]),
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=60),
)
def test_a_message_has_one_text(
    prefix: str, suite: int, key_id: int, body: bytes
) -> None:
    """What is written is read back, as long as was said, and recognised."""
    message = header(suite, key_id) + body
    text = write(prefix, message)

    assert read(prefix, text) == (suite, key_id, message)
    assert len(text) == length(len(message))
    assert looks_sealed(text)
    assert key_name(f'"{text}"') == f"{key_id:08x}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AAAA",
        "4Q",
        "4QEAAAA",
        "4QEAAAAB=",
        "4QEAAAAA\n",
        "4QEA AAAA",
        "4QEAAA+/",
        "é",
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    """Another version, a cut, padding, blanks and the other alphabet do not decode."""
    with pytest.raises(ValueError, match=r"canonical|version 1|padding|base64|ascii"):
        read(RANDOM, RANDOM + text)


@pytest.mark.parametrize("text", ["", "lm1", "LM1r", "lm1x", " lm1r", "lm2r"])
def test_other_beginnings_claim_nothing(text: str) -> None:
    """Only the two prefixes do."""
    assert not looks_sealed(text)


@given(st.integers(0, 60), st.integers(1, 5), st.integers(0, 300))
def test_the_longest_is_the_most_that_fits(
    overhead: int, factor: int, characters: int
) -> None:
    """One more byte does not fit, and as many do; -1 when none do."""

    def length_of(value_bytes: int) -> int:
        return overhead + factor * value_bytes

    most = longest(length_of, characters)
    assert most == -1 or length_of(most) <= characters
    assert length_of(most + 1) > characters


@pytest.mark.parametrize(
    "leaf",
    [
        '"Ada"',
        "null",
        "7",
        '""',
        '"lm1r"',
        '"lm1rAAAA"',
        '"lm1rAAAAAA A"',
        '"lm1d====="',
    ],
)
def test_what_is_no_ciphertext_names_no_key(leaf: str) -> None:
    """Nothing is guessed from what is cut, or is no base64url."""
    assert key_name(leaf) is None
