"""Limits as a policy writes them."""

import pytest

from proxy.core.bucket import MICROSECONDS, RateLimit
from proxy.core.limit import Limit, Part, Per

FIVE = RateLimit.of(5, 60 * MICROSECONDS)
TEN = RateLimit.of(10, 60 * MICROSECONDS)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ((), "subject"),
        ((Part(Per.EVERYONE),), "everyone"),
        ((Part(Per.CLIENT), Part(Per.PATH, "id")), "client and path.id"),
    ],
)
def test_whose_bucket_is_said_as_it_was_written(
    parts: tuple[Part, ...], text: str
) -> None:
    """Each part in the policy's words."""
    limit = Limit(id="a", per=Per.SUBJECT, parts=parts, rates={None: FIVE})

    assert limit.per_text == text


def test_a_part_is_what_a_limit_counts_by() -> None:
    """Wherever it stands in the list."""
    parts = (Part(Per.CLIENT), Part(Per.ROLE))
    limit = Limit(id="a", per=Per.CLIENT, parts=parts, rates={None: FIVE})

    assert [limit.has(per) for per in (Per.CLIENT, Per.ROLE, Per.SUBJECT)] == [
        True,
        True,
        False,
    ]


def test_a_role_has_its_own_rate_or_that_of_the_others() -> None:
    """And may be unlimited."""
    limit = Limit(
        id="a", per=Per.SUBJECT, rates={None: FIVE, "teacher": TEN, "admin": None}
    )

    assert [limit.rate_for(role) for role in ("teacher", "student", "admin", None)] == [
        TEN,
        FIVE,
        None,
        FIVE,
    ]
