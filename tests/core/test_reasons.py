"""The table of reasons, row by row. What it is documented by: test_architecture."""

import re
from http import HTTPStatus

import pytest

from proxy.core.reasons import Party, Reason


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.slug)
def test_row_is_fit_for_clients_logs_and_metrics(reason: Reason) -> None:
    """The slug is kebab-case and the title one public sentence."""
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", reason.slug)
    assert re.fullmatch(r"[A-Z].*[a-z0-9]\.", reason.title)


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.slug)
def test_status_says_whose_doing_it_is(reason: Reason) -> None:
    """What clients can mend is 4xx, the backend's is 502 to 504, ours is 500."""
    parties = {
        Party.CLIENT: range(400, 500),
        Party.BACKEND: range(502, 505),
        Party.STORE: range(503, 504),
        Party.ISSUER: range(503, 504),
        Party.PROXY: range(500, 501),
    }

    assert reason.status in parties[reason.party]
    assert HTTPStatus(reason.status).value == reason.status


def test_no_two_rows_say_the_same() -> None:
    """Whoever reads a title knows which reason it was."""
    reasons = list(Reason)

    assert len({reason.title for reason in reasons}) == len(reasons)
    assert len({reason.slug for reason in reasons}) == len(reasons)
