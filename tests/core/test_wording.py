"""Parts of a policy, written as a policy has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.bucket import RateLimit
from proxy.core.limit import OnStoreFailure
from proxy.core.policy import Upgrade
from proxy.core.workbench.wording import (
    joined,
    methods_text,
    quota_text,
    rate_text,
    store_text,
    upgrade_text,
)

SECOND = 1_000_000


@pytest.mark.parametrize(
    ("count", "period_us", "burst", "expected"),
    [
        (5, 60 * SECOND, None, "5/minute"),
        (1, SECOND, None, "1/second"),
        (100, 3600 * SECOND, 20, "100/hour, burst 20"),
        (10, 86_400 * SECOND, 10, "10/day"),
        (10, 30 * SECOND, None, "10/30s"),
        (1, 7_200 * SECOND, None, "1/2h"),
        (1, 90 * 60 * SECOND, None, "1/90m"),
        (1, 250_000, None, "1/250ms"),
    ],
)
def test_rate_reads_as_it_was_written(
    count: int, period_us: int, burst: int | None, expected: str
) -> None:
    """A rate has its period's name or unit, and its burst if that is special."""
    assert quota_text(RateLimit.of(count, period_us, burst)) == expected


@pytest.mark.parametrize(
    ("on_failure", "leased", "expected"),
    [
        (OnStoreFailure.LOCAL, False, ""),
        (OnStoreFailure.LOCAL, True, ", leased"),
        (OnStoreFailure.ALLOW, False, ", allow without the store"),
        (OnStoreFailure.DENY, True, ", leased, deny without the store"),
    ],
)
def test_only_what_is_unusual_is_said(
    on_failure: OnStoreFailure, leased: bool, expected: str
) -> None:
    """A limit that is exact, and local without the store, says nothing of it."""
    assert store_text(on_failure, leased=leased) == expected


def test_no_rate_is_unlimited() -> None:
    """What has no limit is called as the policy calls it."""
    assert rate_text(None) == "unlimited"


def test_methods_have_one_order() -> None:
    """Methods are in the order of RFC 9110, unknown ones last; none is a star."""
    assert methods_text({"DELETE", "BREW", "GET"}) == "GET,DELETE,BREW"
    assert methods_text(()) == "*"


@given(st.lists(st.sampled_from(["student", "teacher", "admin"]), unique=True))
def test_every_word_of_a_list_is_there(words: list[str]) -> None:
    """A list in a sentence has each word once, and one word before the last."""
    text = joined(words, "or")

    assert all(text.count(word) == 1 for word in words)
    assert text.count(" or ") == (len(words) > 1)
    assert text or not words


@pytest.mark.parametrize(
    ("protocols", "close_on_expiry", "expected"),
    [
        ({b"websocket"}, True, "websocket, until its token expires or nothing is said"),
        ({b"b", b"a"}, False, "a or b, until nothing is said"),
    ],
)
def test_upgrades_have_an_end(
    protocols: set[bytes], close_on_expiry: bool, expected: str
) -> None:
    """What a connection may become is said with what ends it."""
    upgrade = Upgrade(
        protocols=frozenset(protocols), idle=300.0, close_on_expiry=close_on_expiry
    )

    assert upgrade_text(upgrade) == f"{expected} for 5m"
