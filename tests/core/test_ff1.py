"""FF1: the standard's samples, Wycheproof's edge cases, and that it permutes."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.ff1 import FF1

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "ff1.json").read_text("utf-8")
)["cases"]

KEY = bytes(range(32))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_published_vectors(case: dict[str, Any]) -> None:
    """What is valid is reproduced and read back, and all else is an error."""
    key, tweak = bytes.fromhex(case["key"]), bytes.fromhex(case["tweak"])
    if case["result"] == "valid":
        assert FF1(key).encrypt(case["msg"], tweak) == case["ct"]
        assert FF1(key).decrypt(case["ct"], tweak) == case["msg"]
    else:
        with pytest.raises(ValueError, match=r"FF1 takes|Invalid key size"):
            FF1(key).encrypt(case["msg"], tweak)


@given(st.text(alphabet="0123456789", min_size=6, max_size=70), st.binary(max_size=40))
def test_decrypting_restores_the_digits(digits: str, tweak: bytes) -> None:
    """Any digits come back, as many as there were; leading zeros count."""
    encrypted = FF1(KEY).encrypt(digits, tweak)

    assert len(encrypted) == len(digits)
    assert FF1(KEY).decrypt(encrypted, tweak) == digits


def test_it_permutes() -> None:
    """No two of many values share a result: it is one to one."""
    cipher = FF1(KEY)
    results = {cipher.encrypt(f"{n:06d}", b"t") for n in range(0, 10**6, 997)}

    assert len(results) == len(range(0, 10**6, 997))


def test_key_and_tweak_decide_the_result() -> None:
    """Another key or another tweak gives other digits."""
    pairs = itertools.product([KEY, KEY[::-1]], [b"", b"\0", b"\0\0", b"1"])
    results = {FF1(key).encrypt("0" * 20, tweak) for key, tweak in pairs}

    assert len(results) == 8


@pytest.mark.parametrize(
    "digits",
    ["", "12345", "12345a", "-12345", "1234 5", "12_345", "\uff11" * 6, "1\u00b23456"],
    ids=["empty", "five", "letter", "sign", "space", "underscore", "wide", "power"],
)
def test_only_six_or_more_ascii_digits_are_taken(digits: str) -> None:
    """What int() would read and what other scripts call digits is refused."""
    for crypt in (FF1(KEY).encrypt, FF1(KEY).decrypt):
        with pytest.raises(ValueError, match="6 or more decimal digits"):
            crypt(digits, b"")
