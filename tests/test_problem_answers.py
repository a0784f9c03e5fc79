"""A refusal as those who are refused get it: a document, or a page."""

import json

import pytest

from tests.whole_proxy import client_of, whole_proxy
from tests.wire import Client

BROWSER = b"Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n"


async def silent(client: Client) -> None:
    """Answer nothing."""
    await client.reader.read()


@pytest.mark.parametrize("page", [False, True], ids=["a document", "a page"])
@pytest.mark.parametrize(
    ("head", "status", "reason"),
    [
        (b"GET /nowhere HTTP/1.1\r\nHost: a\r\n", 404, "no-rule"),
        (b"GET /room HTTP/1.1\r\nHost: a\r\n", 401, "token-missing"),
        (b"GET /open/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n", 400, "malformed-request"),
        (b"GET /%s HTTP/1.1\r\nHost: a\r\n" % (b"x" * 9000), 414, "uri-too-long"),
        (b"GET /open/x HTTP/1.1\r\nHost: a\r\n", 504, "upstream-timeout"),
    ],
    ids=["no rule", "no token", "malformed", "too long", "the backend"],
)
async def test_a_refusal_is_what_the_client_asked_for(
    head: bytes, status: int, reason: str, *, page: bool
) -> None:
    """The same status, reason and id, in the form that the Accept names."""
    async with whole_proxy(silent) as proxy, client_of(proxy) as client:
        answer = await client.request(head + (BROWSER if page else b"") + b"\r\n")

        assert answer.status == status
        assert answer["x-request-id"] == "id-1"
        if page:
            assert answer["content-type"] == "text/html; charset=utf-8"
            assert f"<code>{reason}</code>".encode() in answer.body
            assert b"<code>id-1</code>" in answer.body
        else:
            assert answer["content-type"] == "application/problem+json"
            document = json.loads(answer.body)
            assert (document["reason"], document["request_id"]) == (reason, "id-1")
