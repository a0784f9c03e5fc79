"""The header fields of answers: what is replaced, added, and given to cookies."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.hardening import Hardening, hardened, origin_of, preflight_of
from proxy.core.message import RawHeaders, Request, Response
from proxy.core.responses import Cookies, Cors, Responses, SameSite

APP = b"https://app.example"
SHARED = Cors(
    origins=("https://app.example", "https://*.school.example"),
    expose=("X-Request-ID",),
    credentials=True,
)


def raw(*lines: str) -> RawHeaders:
    """Return field lines as a parser reads them."""
    fields = []
    for line in lines:
        name, value = line.split(": ", 1)
        fields.append((name.lower().encode(), name.encode(), value.encode("latin-1")))
    return fields


def request(method: str = "GET", *lines: str) -> Request:
    """Return a request with these lines."""
    return Request(method, "/", "1.1", raw(*lines), peer="", peer_trusted=False)


def answer(
    responses: Responses, *lines: str, origin: bytes | None = None
) -> tuple[list[str], list[str]]:
    """Return the backend's lines that stay, and those that are added."""
    response = Response(200, b"OK", raw(*lines), length=0, bodiless=False)
    asked = request("GET", *([f"Origin: {origin.decode()}"] if origin else []))
    added = hardened(Hardening(responses), response, asked)
    kept = [f"{name.decode()}: {value.decode()}" for _, name, value in response.headers]
    return kept, added.decode().split("\r\n")[:-1]


def test_nothing_said_is_nothing_done() -> None:
    """Without a word of the policy an answer is what the backend sent."""
    response = Response(200, b"OK", raw("Server: x"), length=0, bodiless=False)

    assert hardened(None, response, request()) == b""
    assert response.headers == raw("Server: x")
    assert answer(Responses(), "Server: x", "X: y") == (["Server: x", "X: y"], [])


def test_fields_are_set_whatever_the_backend_says() -> None:
    """The policy's value stands alone, however often and in what case it was said."""
    said = Responses(set=(("X-Content-Type-Options", "nosniff"),))

    assert answer(said, "x-content-type-options: sniff", "A: b") == (
        ["A: b"],
        ["X-Content-Type-Options: nosniff"],
    )


def test_defaults_are_for_answers_without() -> None:
    """What the backend says itself stays, and is not said twice."""
    said = Responses(default=(("Referrer-Policy", "no-referrer"), ("X-A", "b")))

    assert answer(said, "referrer-policy: origin") == (
        ["referrer-policy: origin"],
        ["X-A: b"],
    )


def test_what_tells_of_the_backend_is_dropped() -> None:
    """In whatever case it is spelled."""
    said = Responses(remove=("Server", "X-Powered-By"))

    assert answer(said, "SERVER: x/1.2", "x-powered-by: y", "A: b") == (["A: b"], [])


@pytest.mark.parametrize(
    ("sources", "older"),
    [
        (("'none'",), ["X-Frame-Options: DENY"]),
        (("'self'",), ["X-Frame-Options: SAMEORIGIN"]),
        (("'self'", "https://portal.example"), []),
    ],
    ids=["none", "self", "others"],
)
def test_frames_are_said_beside_the_backends_policy(
    sources: tuple[str, ...], older: list[str]
) -> None:
    """Browsers enforce both policies; the older field never contradicts ours."""
    kept, added = answer(
        Responses(frame_ancestors=sources),
        "Content-Security-Policy: default-src 'self'",
        "X-Frame-Options: ALLOW-FROM https://a",
    )

    assert kept == ["Content-Security-Policy: default-src 'self'"]
    assert added == [
        f"Content-Security-Policy: frame-ancestors {' '.join(sources)}",
        *older,
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("sid=1", "sid=1; Secure; HttpOnly; SameSite=Lax"),
        ("sid=1; Path=/", "sid=1; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ("sid=1; ", "sid=1; Secure; HttpOnly; SameSite=Lax"),
        ("csrftoken=1", "csrftoken=1; Secure; SameSite=Lax"),
        ("sid=1; secure;HTTPONLY", "sid=1; secure;HTTPONLY; SameSite=Lax"),
        (
            "lti=1; SameSite=None; Secure; HttpOnly",
            "lti=1; SameSite=None; Secure; HttpOnly",
        ),
        ("a=Secure; HttpOnly=x", "a=Secure; HttpOnly=x; Secure; SameSite=Lax"),
        ("securehttponly", "securehttponly; Secure; HttpOnly; SameSite=Lax"),
    ],
    ids=[
        *("bare", "attributes", "semicolon", "readable", "has some", "has all"),
        *("value that looks like one", "no value"),
    ],
)
def test_cookies_are_given_what_they_lack(value: str, expected: str) -> None:
    """What the backend said stays as it is; only what is missing is added."""
    said = Responses(cookies=Cookies(readable=frozenset({"csrftoken"})))

    assert answer(said, f"Set-Cookie: {value}") == ([f"Set-Cookie: {expected}"], [])


def test_each_cookie_is_given_its_own() -> None:
    """Cookies are not laid together, for a comma may be part of a date."""
    said = Responses(cookies=Cookies(same_site=SameSite.STRICT))
    kept, _ = answer(said, "set-cookie: a=1; Expires=Wed, 1 Jan", "Set-Cookie: b=2")

    assert kept == [
        "set-cookie: a=1; Expires=Wed, 1 Jan; Secure; HttpOnly; SameSite=Strict",
        "Set-Cookie: b=2; Secure; HttpOnly; SameSite=Strict",
    ]


def test_cookies_are_left_what_the_policy_leaves_them() -> None:
    """Each attribute can be switched off."""
    said = Responses(cookies=Cookies(secure=False, http_only=False, same_site=None))

    assert answer(said, "Set-Cookie: a=1") == (["Set-Cookie: a=1"], [])


@given(
    st.text(string.ascii_letters + string.digits + "=;, -_", min_size=1, max_size=60)
)
def test_cookie_begins_as_it_was(value: str) -> None:
    """Nothing of a cookie is changed but for separators at its end; twice is once."""
    value = f"a={value.strip()}"
    said = Responses(cookies=Cookies())
    [once], _ = answer(said, f"Set-Cookie: {value}")
    [twice], _ = answer(said, once)

    assert once.startswith(f"Set-Cookie: {value.rstrip('; ')}")
    assert twice == once


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (b"https://app.example", True),
        (b"https://a.school.example", True),
        (b"https://a.b.school.example", True),
        (b"https://school.example", False),
        (b"https://evil.example", False),
        (b"http://app.example", False),
        (b"https://app.example.evil.example", False),
        (b"https://evil.example?.school.example", False),
        (b"https://evil.example/.school.example", False),
        (b"https://a.school.example:8443", False),
        (b"https://aXschool.example", False),
        (b"null", False),
        (b"", False),
    ],
)
def test_answers_are_read_by_pages_of_named_origins(
    origin: bytes, *, allowed: bool
) -> None:
    """An origin is compared whole; a wildcard stands for labels and nothing else."""
    _, added = answer(Responses(cors=SHARED), origin=origin)
    expected = [
        f"Access-Control-Allow-Origin: {origin.decode()}",
        "Access-Control-Allow-Credentials: true",
        "Access-Control-Expose-Headers: X-Request-ID",
        "Vary: Origin",
    ]

    assert added == (expected if allowed else ["Vary: Origin"])


def test_caches_know_that_answers_differ_by_origin() -> None:
    """Also the answer to a request without one, and what the backend said is gone."""
    kept, added = answer(
        Responses(cors=SHARED),
        "Access-Control-Allow-Origin: *",
        "access-control-max-age: 1",
        "Vary: Accept",
    )

    assert (kept, added) == (["Vary: Accept"], ["Vary: Origin"])


def test_everybody_is_told_so() -> None:
    """An answer for everybody is the same for everybody, and takes no cookies."""
    said = Responses(cors=Cors(origins=("*",)))

    assert answer(said, origin=b"https://any.example") == (
        [],
        ["Access-Control-Allow-Origin: *"],
    )


def test_origin_that_is_there_twice_is_none() -> None:
    """Two readers could take another one each."""
    assert origin_of(request("GET", "Origin: a", "Origin: b")) is None
    assert origin_of(request("GET", "Origin: a")) == b"a"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (
            request(
                "OPTIONS",
                "Origin: https://app.example",
                "Access-Control-Request-Method: PUT",
            ),
            (APP, b"PUT"),
        ),
        (request("OPTIONS", "Origin: https://app.example"), None),
        (request("OPTIONS", "Access-Control-Request-Method: PUT"), None),
        (
            request(
                "OPTIONS",
                "Origin: https://app.example",
                "Access-Control-Request-Method: PUT, GET",
            ),
            None,
        ),
        (
            request(
                "GET",
                "Origin: https://app.example",
                "Access-Control-Request-Method: PUT",
            ),
            None,
        ),
    ],
    ids=["preflight", "no method", "no origin", "two methods", "GET"],
)
def test_preflight_is_told_from_other_requests(
    asked: Request, expected: tuple[bytes, bytes] | None
) -> None:
    """OPTIONS with one origin and one method, and nothing else."""
    assert preflight_of(asked) == expected


@pytest.mark.parametrize(
    ("cors", "origin", "expected"),
    [
        (
            SHARED,
            APP,
            [
                "Access-Control-Allow-Origin: https://app.example",
                "Access-Control-Allow-Methods: PUT",
                "Access-Control-Allow-Credentials: true",
                "Access-Control-Allow-Headers: Authorization, Content-Type",
                "Access-Control-Max-Age: 600",
                "Vary: Origin, Access-Control-Request-Method",
            ],
        ),
        (
            Cors(origins=("*",), headers=(), max_age=0.0),
            APP,
            [
                "Access-Control-Allow-Origin: *",
                "Access-Control-Allow-Methods: PUT",
                "Access-Control-Max-Age: 0",
                "Vary: Origin, Access-Control-Request-Method",
            ],
        ),
    ],
    ids=["one origin", "everybody"],
)
def test_preflight_is_told_what_a_page_may(
    cors: Cors, origin: bytes, expected: list[str]
) -> None:
    """The method that was asked for, and what the policy says."""
    rules = Hardening(Responses(cors=cors)).cors
    assert rules is not None
    lines = b"".join(rules.preflight_lines(origin, b"PUT"))

    assert lines.decode().split("\r\n")[:-1] == expected


def test_own_answers_are_hardened_as_well() -> None:
    """A refusal has every field of the policy, and is read by the pages that may."""
    said = Hardening(
        Responses(
            set=(("X-A", "1"),),
            default=(("X-B", "2"),),
            frame_ancestors=("'none'",),
            cors=SHARED,
        )
    )
    lines = (
        b"X-A: 1\r\nContent-Security-Policy: frame-ancestors 'none'\r\n"
        b"X-Frame-Options: DENY\r\nX-B: 2\r\n"
    )
    asked = request("GET", "Origin: https://app.example")

    assert said.own_lines(None) == lines + b"Vary: Origin\r\n"
    assert said.own_lines(asked).startswith(
        lines + b"Access-Control-Allow-Origin: https://app.example\r\n"
    )
    assert Hardening(Responses(set=(("X-A", "1"),))).own_lines(None) == b"X-A: 1\r\n"
