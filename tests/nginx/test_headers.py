"""What every answer of the edge says, whoever made it, and what it may not say."""

import http.client
import io
import json
import socket
import urllib.parse
from collections.abc import Callable

import pytest

from tests.e2e.conftest import DEADLINE
from tests.nginx.conftest import ORIGIN_SECRETS
from tests.nginx.edge import HOST, Answer, Edge

ONCE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "base-uri 'self'; frame-ancestors 'self'",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Permissions-Policy": "browsing-topics=(), interest-cohort=()",
    "Cross-Origin-Opener-Policy": "same-origin-allow-popups",
    "Cross-Origin-Resource-Policy": "same-site",
}
"""What is said, exactly once, where the backend does not know better."""

HSTS = "max-age=63072000"
LOGIN = b'{"email": "t@example.org", "password": "no"}'
HEADERS = {"Content-Type": "application/json", "X-Origin-Secret": ORIGIN_SECRETS[1]}


def said(status: int = 200, *fields: str, path: str = "/x") -> str:
    """Return what makes the talking backend say this."""
    pairs = [("status", str(status)), *(("field", field) for field in fields)]
    return f"{path}?{urllib.parse.urlencode(pairs)}"


def raw(port: int, request: bytes) -> Answer:
    """Return the answer to bytes that no client library would send."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as client:
        client.sendall(request)
        response = http.client.HTTPResponse(client)
        response.begin()
        return Answer(response.status, response.headers, response.read())


def upgraded(edge: Edge) -> Answer:
    """Return the answer to a client that wants to go on in another protocol."""
    path = said(101, "Upgrade:websocket", "Connection:upgrade")
    lines = [f"GET {path} HTTP/1.1", f"Host: {HOST}", "Connection: Upgrade"]
    with edge.connect() as client:
        client.sendall("\r\n".join([*lines, "Upgrade: websocket", "", ""]).encode())
        # http.client takes every 1xx for a prelude.
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
    status, _, fields = head.partition(b"\r\n")
    return Answer(
        int(status.split()[1]), http.client.parse_headers(io.BytesIO(fields)), b""
    )


def limited(edge: Edge, path: str, body: bytes | None) -> Answer:
    """Return the first refusal of many requests."""
    method = "POST" if body else "GET"
    answers = (edge.ask(path, method, body, HEADERS) for _ in range(8))
    return next(answer for answer in answers if answer.status == 429)


ANSWERS: dict[str, tuple[str, int, Callable[[Edge], Answer]]] = {
    "page": ("front", 200, lambda edge: edge.ask("/login")),
    "json": ("echo", 200, lambda edge: edge.ask("/api")),
    "created": ("echo", 201, lambda edge: edge.ask(said(201), "POST", b"x")),
    "empty": ("echo", 204, lambda edge: edge.ask(said(204))),
    "unchanged": ("echo", 304, lambda edge: edge.ask(said(304))),
    "redirect": ("echo", 302, lambda edge: edge.ask(said(302, "Location:/"))),
    "upgrade": ("echo", 101, upgraded),
    "backend-404": ("echo", 404, lambda edge: edge.ask(said(404))),
    "backend-500": ("echo", 500, lambda edge: edge.ask(said(500))),
    "no-token": ("front", 401, lambda edge: edge.ask("/api/users")),
    "no-rule": ("front", 404, lambda edge: edge.ask("/nothing")),
    "no-method": ("front", 405, lambda edge: edge.ask("/api/users", "DELETE")),
    "policy-429": ("front", 429, lambda edge: limited(edge, "/api/auth/login", LOGIN)),
    "https": ("front", 301, lambda edge: edge.ask_plainly(edge.http, "/a?b=c")),
    "acme-404": (
        *("front", 404),
        lambda edge: edge.ask_plainly(edge.http, "/.well-known/acme-challenge/no"),
    ),
    "plain-on-tls": ("front", 400, lambda edge: edge.ask_plainly(edge.https, "/")),
    "bad-request": (
        *("front", 400),
        lambda edge: raw(
            edge.http, f"GET / HTTP/1.1\r\nHost: {HOST}\r\n: x\r\n\r\n".encode()
        ),
    ),
    "long-target": ("front", 414, lambda edge: edge.ask("/" + "x" * 9000)),
    "large-fields": (
        *("front", 431),
        lambda edge: edge.ask("/", headers={"X-Large": "x" * 9000}),
    ),
    "edge-413": (
        *("tight", 413),
        lambda edge: edge.ask(
            "/", "POST", b"x" * 2000, {"X-Origin-Secret": ORIGIN_SECRETS[0]}
        ),
    ),
    "edge-429": ("tight", 429, lambda edge: limited(edge, "/", None)),
    "no-origin-secret": (
        *("tight", 403),
        lambda edge: edge.ask("/", headers={"X-Forwarded-For": "192.0.2.1"}),
    ),
    "no-proxy": ("alone", 502, lambda edge: edge.ask("/")),
    "asset-405": ("front", 403, lambda edge: edge.ask("/static/x.css", "POST", b"x")),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_says_it_once(name: str, request: pytest.FixtureRequest) -> None:
    """Security fields are on errors, redirects, refusals and upgrades, once each."""
    fixture, status, ask = ANSWERS[name]
    edge = request.getfixturevalue(fixture)

    answer = ask(edge)

    assert answer.status == status
    assert {field: answer.all(field) for field in ONCE} == {
        field: [value] for field, value in ONCE.items()
    }
    plain = name in {"https", "acme-404", "plain-on-tls", "bad-request"}
    assert answer.all("Strict-Transport-Security") == ([] if plain else [HSTS])
    for field in ("Cache-Control", "CDN-Cache-Control", "X-Request-ID", "Server"):
        assert len(answer.all(field)) == 1, field
    assert answer.all("Server") == ["nginx"]


@pytest.mark.parametrize(
    "name",
    [
        *("plain-on-tls", "bad-request", "long-target", "large-fields", "edge-413"),
        *("edge-429", "no-origin-secret", "no-proxy", "acme-404", "asset-405"),
    ],
)
def test_an_error_of_the_edge_is_a_problem_document(
    name: str, request: pytest.FixtureRequest
) -> None:
    """It says what is wrong, and by which id to ask about it."""
    fixture, status, ask = ANSWERS[name]

    answer = ask(request.getfixturevalue(fixture))
    problem = json.loads(answer.body)

    assert answer.fields["Content-Type"] == "application/problem+json"
    assert (problem["status"], problem["type"]) == (status, "about:blank")
    assert problem["request_id"] == answer.fields["X-Request-ID"]
    assert answer.fields["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Content-Security-Policy", "default-src 'none'"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Permissions-Policy", "camera=()"),
        ("Cross-Origin-Opener-Policy", "unsafe-none"),
        ("Cross-Origin-Resource-Policy", "cross-origin"),
    ],
)
def test_a_backend_may_know_better(echo: Edge, field: str, value: str) -> None:
    """What the backend says of itself is said on, once."""
    assert echo.ask(said(200, f"{field}:{value}")).all(field) == [value]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("Strict-Transport-Security:max-age=0", [HSTS]),
        ("X-Content-Type-Options:sniff", ["nosniff"]),
        ("X-Powered-By:PHP/5", []),
        ("X-Runtime:0.1", []),
        ("Server:IIS", ["nginx"]),
    ],
)
def test_what_is_the_edges_to_say(echo: Edge, field: str, expected: list[str]) -> None:
    """A backend can neither switch HTTPS off nor tell what it is made of."""
    assert echo.ask(said(200, field)).all(field.partition(":")[0]) == expected


BEARER = {"Authorization": "Bearer x"}
COOKIE = {"Cookie": "sessionid=x"}
ASSET = "/static/app.css"
HASHED = "/static/app.3f2a9c41.js"


@pytest.mark.parametrize(
    ("path", "headers", "says", "kept", "cdn"),
    [
        ("/api", {}, "", "no-store", "no-store"),
        ("/api", {}, "max-age=5", "max-age=5", "no-store"),
        ("/api", {}, "public, max-age=5", "public, max-age=5", "no-store"),
        ("/api", BEARER, "public, max-age=5", "private, no-cache", "no-store"),
        ("/api", COOKIE, "max-age=5, s-maxage=9", "private, no-cache", "no-store"),
        ("/api", BEARER, "private, max-age=5", "private, max-age=5", "no-store"),
        (ASSET, {}, "", "public, max-age=3600", "max-age=86400"),
        (ASSET, COOKIE, "", "public, max-age=3600", "max-age=86400"),
        (HASHED, {}, "", "public, max-age=31536000, immutable", "max-age=86400"),
        (ASSET, BEARER, "", "private, no-cache", "no-store"),
        (ASSET, {}, "private", "private", "no-store"),
        (ASSET, {}, "no-store", "no-store", "no-store"),
        (ASSET, {}, "max-age=5", "max-age=5", "max-age=86400"),
    ],
)
def test_who_may_keep_an_answer(
    echo: Edge, path: str, headers: dict[str, str], *, says: str, kept: str, cdn: str
) -> None:
    """An answer to somebody is for nobody else, and only assets are for a CDN."""
    fields = [f"Cache-Control:{says}"] if says else []

    answer = echo.ask(said(200, *fields, path=path), headers=headers)

    assert answer.all("Cache-Control") == [kept]
    assert answer.all("CDN-Cache-Control") == [cdn]


def test_a_missing_asset_is_not_kept(echo: Edge) -> None:
    """An error in the place of an asset is gone with the next try."""
    answer = echo.ask(said(404, path=HASHED))

    assert answer.all("Cache-Control") == ["no-store"]
    assert answer.all("CDN-Cache-Control") == ["no-store"]
