"""What crosses, what does not, and who is believed."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import Refused
from proxy.core.header_names import (
    IDENTITY_PREFIXES,
    KEEP,
    NOTE_AND_KEEP,
    REQUEST,
)
from proxy.core.headers import (
    examine,
    field_lines,
    header_value,
    is_json,
    request_head,
    request_lines,
    response_lines,
    value_of,
    without_validators,
)
from proxy.core.message import RawHeaders
from proxy.core.reasons import Reason


def raw(*lines: tuple[str, str]) -> RawHeaders:
    """Return field lines as the parser gives them."""
    return [
        (name.lower().encode(), name.encode(), value.encode("latin-1"))
        for name, value in lines
    ]


def forwarded(*lines: tuple[str, str], whole: bool = False) -> str:
    """Return what of a request's lines is forwarded."""
    headers = examine(raw(("Host", "a"), *lines), "1.1")
    return b"".join(request_lines(headers, whole=whole)).decode("latin-1")


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "Proxy-Authorization",
        "TE",
        "Trailer",
        "Upgrade",
        "X-Lumina-Subject",
        "X-Lumina-Role",
        "X-Lumina-Anything",
        "x_lumina_role",
        "X_Lumina-Role",
        "X.Lumina.Role",
        "X~Lumina|Role",
        "Remote-User",
        "REMOTE_USER",
        "X-Forwarded-User",
        "X-Auth-Request-Email",
        "Forwarded",
        "X-Real-IP",
        "X-Forwarded-For",
        "X_Forwarded_For",
        "X-Forwarded-Host",
        "X-HTTP-Method-Override",
        "Proxy",
        "X-Original-URL",
        "X-Rewrite-URL",
        "Content_Length",
        "Transfer_Encoding",
    ],
)
def test_what_no_client_may_say_is_dropped(name: str) -> None:
    """Hop-by-hop, identity, forwarding and steering fields end here."""
    assert forwarded((name, "close")) == ""


def test_everything_else_keeps_its_spelling_and_order() -> None:
    """End-to-end fields pass as they were sent, repeated ones too."""
    assert forwarded(
        ("user-AGENT", "x"), ("X-Custom_1", "é"), ("Cookie", "a"), ("Cookie", "b")
    ) == ("user-AGENT: x\r\nX-Custom_1: é\r\nCookie: a\r\nCookie: b\r\n")


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        ("X-Secret", "Accept: y\r\n"),
        ("close, X-SECRET ,", "Accept: y\r\n"),
        ("keep-alive", "X-Secret: z\r\nAccept: y\r\n"),
    ],
)
def test_fields_that_connection_names_are_dropped(
    connection: str, expected: str
) -> None:
    """RFC 9110 section 7.6.1."""
    sent = (("Connection", connection), ("X-Secret", "z"), ("Accept", "y"))

    assert forwarded(*sent) == expected


def test_a_whole_answer_is_asked_for_where_fields_are_decrypted() -> None:
    """No compression, no part, no 304: they could not be decrypted."""
    sent = (
        ("Accept-Encoding", "gzip"),
        ("Range", "bytes=0-1"),
        ("If-None-Match", '"x"'),
        ("Accept", "y"),
    )

    assert forwarded(*sent, whole=True) == "Accept: y\r\nAccept-Encoding: identity\r\n"
    assert forwarded(*sent).startswith("Accept-Encoding: gzip\r\nRange")


@pytest.mark.parametrize(
    ("value", "passes"),
    [
        (f"00-{'a' * 32}-{'b' * 16}-01", True),
        (f"00-{'A' * 32}-{'b' * 16}-01", False),
        ("garbage", False),
    ],
)
def test_a_trace_context_passes_when_it_is_one(value: str, *, passes: bool) -> None:
    """W3C Trace Context: what cannot be read is dropped."""
    assert ("traceparent" in forwarded(("traceparent", value))) is passes


@pytest.mark.parametrize(
    ("lines", "version", "reason"),
    [
        ([], "1.1", Reason.MALFORMED),
        ([("Host", "a"), ("Host", "a")], "1.1", Reason.MALFORMED),
        ([("Host", "a b")], "1.1", Reason.MALFORMED),
        ([("Host", "a@b")], "1.1", Reason.MALFORMED),
        ([("Host", "")], "1.1", Reason.MALFORMED),
        (
            [("Host", "a"), ("Authorization", "x"), ("Authorization", "x")],
            "1.1",
            Reason.MALFORMED,
        ),
        (
            [("Host", "a"), ("Content-Type", "x"), ("Content-Type", "y")],
            "1.1",
            Reason.MALFORMED,
        ),
        (
            [("Host", "a"), ("Transfer-Encoding", "gzip, chunked")],
            "1.1",
            Reason.MALFORMED,
        ),
        ([("Host", "a"), ("Transfer-Encoding", "chunked")], "1.0", Reason.MALFORMED),
        ([("Host", "a"), ("Expect", "200-ok")], "1.1", Reason.EXPECTATION_UNKNOWN),
    ],
)
def test_doubtful_sections_are_refused(
    lines: list[tuple[str, str]], version: str, reason: Reason
) -> None:
    """What appears twice and may not, or frames in an unknown way, goes nowhere."""
    with pytest.raises(Refused) as refused:
        examine(raw(*lines), version)

    assert refused.value.reason is reason


@pytest.mark.parametrize("host", ["a", "a:1", "[::1]", "[::1]:80", "lms.example.org"])
def test_hosts_are_hosts(host: str) -> None:
    """Names, addresses and ports are accepted; HTTP/1.0 needs none."""
    assert examine(raw(("Host", host)), "1.1").host == host.encode()
    assert examine([], "1.0").host == b""


def test_what_repeats_is_joined() -> None:
    """Lists in several lines are one list."""
    headers = examine(
        raw(("Host", "a"), ("X-Forwarded-For", "1"), ("X-Forwarded-For", "2")), "1.1"
    )

    assert headers.noted[b"x-forwarded-for"] == b"1, 2"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user-1@example.org|x", b"user-1@example.org|x"),
        ("a\r\nX-Lumina-Role: admin", b"a%0D%0AX-Lumina-Role:%20admin"),
        ("Zoë %", b"Zo%C3%AB%20%25"),
    ],
)
def test_claims_become_safe_values(text: str, expected: bytes) -> None:
    """No claim can end a line or begin another."""
    assert header_value(text) == expected


def test_answers_lose_framing_and_hop_by_hop_fields() -> None:
    """What the connection to the backend was like is not the client's business."""
    lines = response_lines(
        raw(
            ("Server", "x"),
            ("Connection", "keep-alive, X-Hop"),
            ("X-Request-ID", "theirs"),
            ("X-Lumina-Role", "admin"),
            ("Content-Length", "3"),
            ("Transfer-Encoding", "chunked"),
            ("X-Hop", "y"),
            ("Set-Cookie", "a"),
            ("Set-Cookie", "b"),
        )
    )

    assert lines == [b"Server: x\r\n", b"Set-Cookie: a\r\n", b"Set-Cookie: b\r\n"]
    assert response_lines(raw(("A", "b"))) == [b"A: b\r\n"]


def test_validators_of_other_bytes_are_dropped() -> None:
    """An ETag says nothing of a body that was decrypted since."""
    kept = without_validators(raw(("ETag", "x"), ("Digest", "y"), ("Date", "z")))

    assert [name for name, _, _ in kept] == [b"date"]
    assert value_of(kept, b"date") == b"z"
    assert value_of(kept, b"etag") is None


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (None, False),
        (b"application/json", True),
        (b"Application/JSON; charset=UTF-8", True),
        (b'application/problem+json; charset="utf-8"', True),
        (b"application/json; profile=x;", True),
        (b"application/json; charset=utf-16", False),
        (b"text/json", False),
        (b"application/jsonp", False),
        (b"text/plain", False),
    ],
)
def test_json_is_json_in_utf8(content_type: bytes | None, *, expected: bool) -> None:
    """Only what every backend reads as JSON counts as JSON."""
    assert is_json(content_type) is expected


def test_head_of_a_request_is_its_line_its_host_and_the_rest() -> None:
    """In this order, with the empty line that ends it."""
    lines = [b"A: b\r\n", b"C: d\r\nE: f\r\n"]

    assert request_head("GET", "/a?b", b"lms.example:80", lines) == (
        b"GET /a?b HTTP/1.1\r\nHost: lms.example:80\r\nA: b\r\nC: d\r\nE: f\r\n\r\n"
    )
    assert request_head("HEAD", "/", b"a", []) == b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"


def test_our_own_fields_become_lines() -> None:
    """One each, in their order."""
    assert field_lines([("Allow", "GET"), ("Retry-After", "1")]) == [
        b"Allow: GET\r\n",
        b"Retry-After: 1\r\n",
    ]


TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
MARKS = st.sampled_from([mark for mark in TOKEN if not mark.isalnum()])


@st.composite
def spelled(draw: st.DrawFn) -> str:
    """Return a protected name in some spelling, or any name at all."""
    known = draw(st.sampled_from(sorted([*REQUEST, *IDENTITY_PREFIXES]))).decode()
    name = "".join(
        draw(MARKS) if letter == "-" and draw(st.booleans()) else letter
        for letter in known
    )
    respelled = "".join(
        letter.upper() if draw(st.booleans()) else letter for letter in name
    )
    return draw(
        st.sampled_from([known, respelled, f"{respelled}x"])
        | st.text(TOKEN, min_size=1, max_size=12)
    )


@given(st.lists(st.tuples(spelled(), st.text("ab ,;-", max_size=8)), max_size=8))
def test_no_spelling_of_a_name_gets_past(lines: list[tuple[str, str]]) -> None:
    """What is forwarded is kept by its very name, or is like no name of the table."""
    section = raw(("Host", "a"), *lines)
    try:
        kept = examine(section, "1.1").kept
    except Refused as refused:
        assert refused.reason in {Reason.MALFORMED, Reason.EXPECTATION_UNKNOWN}  # noqa: PT017
        return

    for lower, _, _ in kept:
        plain = re.sub(rb"[^a-z0-9]", b"-", lower)
        assert REQUEST.get(lower, KEEP) in {KEEP, NOTE_AND_KEEP}
        assert lower == plain or REQUEST.get(plain, KEEP) == KEEP
        assert not plain.startswith(IDENTITY_PREFIXES)
    assert kept == [field for field in section if field in kept]
