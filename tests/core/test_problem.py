"""The problem document (RFC 9457) that a refusal is answered with."""

import json
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import Refused
from proxy.core.problem import PHRASES, TYPE_PREFIX, problem_body, problem_lines
from proxy.core.reasons import Reason


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.slug)
def test_every_reason_makes_a_document(reason: Reason) -> None:
    """Type, title, status and reason are the row of the table, in JSON."""
    body = problem_body(Refused(reason), rule="login", request_id="ab-1")

    assert json.loads(body) == {
        "type": f"urn:lumina-proxy:reason:{reason.slug}",
        "title": reason.title,
        "status": reason.status,
        "reason": reason.slug,
        "rule": "login",
        "request_id": "ab-1",
    }


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.slug)
def test_every_status_has_its_phrase(reason: Reason) -> None:
    """That of RFC 9110 section 15, which the standard library has for most."""
    newer = {413: "Content Too Large", 414: "URI Too Long"}
    newer[422] = "Unprocessable Content"
    expected = newer.get(reason.status, HTTPStatus(reason.status).phrase)

    assert PHRASES[reason.status] == expected.encode()


def test_type_is_a_urn() -> None:
    """RFC 9457 section 3.1.1 wants a URI; nothing has to be fetched for it."""
    assert TYPE_PREFIX.startswith("urn:")


def test_detail_is_shown_when_there_is_one() -> None:
    """And the rule only when one was matched."""
    refused = Refused(Reason.BODY_NOT_JSON, "At byte 7.")
    document = json.loads(problem_body(refused, rule="", request_id="ab-1"))

    assert document["detail"] == "At byte 7."
    assert "rule" not in document


@given(st.text(), st.text(), st.text())
def test_no_text_breaks_out_of_the_document(
    detail: str, rule: str, request_id: str
) -> None:
    """Quotes, controls and every other character come back as they were, in ASCII."""
    refused = Refused(Reason.NO_RULE, detail)
    body = problem_body(refused, rule=rule, request_id=request_id)
    document = json.loads(body.decode("ascii"))

    assert document.get("detail", "") == detail
    assert (document.get("rule", ""), document["request_id"]) == (rule, request_id)


def test_lines_name_the_media_type_and_the_request() -> None:
    """The answer is not stored, says what it is, and can be found in the log."""
    lines = b"".join(problem_lines(Refused(Reason.NO_RULE), request_id="ab-1"))

    assert lines.split(b"\r\n") == [
        b"Content-Type: application/problem+json",
        b"Cache-Control: no-store",
        b"X-Request-ID: ab-1",
        b"",
    ]


def test_lines_have_the_fields_of_the_refusal() -> None:
    """Retry-After, Allow, a challenge: whatever the reason needs, in order."""
    refused = Refused(
        Reason.RATE_LIMITED, headers=(("Retry-After", "12"), ("RateLimit", '"a";r=0'))
    )
    lines = b"".join(problem_lines(refused, request_id="ab-1"))

    assert lines.endswith(
        b'X-Request-ID: ab-1\r\nRetry-After: 12\r\nRateLimit: "a";r=0\r\n'
    )
