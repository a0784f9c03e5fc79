"""What clients get of an answer's header fields, through a proxy in its own process."""

import signal
from pathlib import Path

import pytest

from tests.proxy_process import ProxyProcess, proxy_process
from tests.wire import Answer, Client, backend, eventually

POLICY = """\
version: 1
backends: {lms: {servers: ["${BACKEND_URL}"]}}
responses:
  set: {X-Content-Type-Options: nosniff, Strict-Transport-Security: max-age=31536000}
  default: {Content-Security-Policy: default-src 'self'}
  remove: [Server, X-Powered-By]
  frame_ancestors: [none]
  cookies: {readable: [csrftoken]}
rules:
  - {id: page, match: GET /page, allow: anyone}
  - {id: raw, match: GET /raw, allow: anyone, responses: none}
  - id: shared
    match: GET /shared/{id}
    allow: anyone
    limits: [{rate: 3/hour, per: client}]
    responses: {cors: {origins: ["https://app.example"], credentials: true}}
  - id: every
    match: "* /every"
    allow: anyone
    responses: {cors: {origins: ["https://app.example"]}}
  - {id: own, match: "GET,OPTIONS /own", allow: anyone}
"""
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: LMS/1.2\r\nX-Powered-By: PHP\r\n"
    b"Set-Cookie: sid=1; Path=/\r\nSet-Cookie: csrftoken=2; Secure\r\n"
    b"x-content-type-options: sniff\r\nX-Frame-Options: ALLOWALL\r\n"
    b"Access-Control-Allow-Origin: *\r\nContent-Length: 2\r\n\r\nok"
)
PREFLIGHT = (
    "OPTIONS {path} HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n"
    "Access-Control-Request-Method: {method}\r\n\r\n"
)
OURS = [
    ("X-Content-Type-Options", "nosniff"),
    ("Strict-Transport-Security", "max-age=31536000"),
    ("Content-Security-Policy", "frame-ancestors 'none'"),
    ("X-Frame-Options", "DENY"),
    ("Content-Security-Policy", "default-src 'self'"),
]


class Asked:
    """A backend that notes what it is asked."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []

    async def play(self, client: Client) -> None:
        """Answer every request."""
        while True:
            self.heads.append(await client.reader.readuntil(b"\r\n\r\n"))
            await client.send(ANSWER)


async def get(proxy: ProxyProcess, path: str, *lines: str) -> Answer:
    """Ask for a path on a connection of its own."""
    client = await Client.connect(proxy.data)
    fields = "".join(f"{line}\r\n" for line in lines)
    request = f"GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"
    answer = await client.request(request.encode())
    await client.close()
    return answer


async def preflight(
    proxy: ProxyProcess,
    path: str,
    origin: str = "https://app.example",
    method: str = "GET",
) -> Answer:
    """Ask what a page may."""
    client = await Client.connect(proxy.data)
    text = PREFLIGHT.format(path=path, origin=origin, method=method)
    answer = await client.request(text.encode())
    await client.close()
    return answer


def ours(answer: Answer) -> list[tuple[str, str]]:
    """Return the lines of an answer that the policy sets."""
    names = {name for name, _ in OURS}
    return [line for line in answer.lines if line[0] in names]


async def test_answers_are_hardened(tmp_path: Path) -> None:
    """Each field of the policy, once; nothing that tells of the backend."""
    asked = Asked()
    async with backend(asked.play) as port:
        url = f"http://127.0.0.1:{port}"
        with proxy_process(tmp_path, POLICY, BACKEND_URL=url) as proxy:
            answer = await get(proxy, "/page")
            raw = await get(proxy, "/raw")

    assert ours(answer) == OURS
    assert "server" not in answer
    assert "x-powered-by" not in answer
    cookies = [value for name, value in answer.lines if name == "Set-Cookie"]
    assert cookies == [
        "sid=1; Path=/; Secure; HttpOnly; SameSite=Lax",
        "csrftoken=2; Secure; SameSite=Lax",
    ]
    assert answer["Access-Control-Allow-Origin"] == "*"
    assert raw["Server"] == "LMS/1.2"
    assert raw["X-Frame-Options"] == "ALLOWALL"
    assert ("Set-Cookie", "sid=1; Path=/") in raw.lines


async def test_own_answers_are_hardened(tmp_path: Path) -> None:
    """Refusals, what is no HTTP, and the answer about the proxy itself."""
    with proxy_process(tmp_path, POLICY, BACKEND_URL="http://127.0.0.1:9") as proxy:
        refused = await get(proxy, "/nowhere")
        lost = await get(proxy, "/page")
        itself = await get(proxy, "/health")
        client = await Client.connect(proxy.data)
        malformed = await client.request(b"GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n")
        await client.close()
        unhardened = await get(proxy, "/raw")

    assert [one.status for one in (refused, lost, itself, malformed)] == [
        *(404, 502, 200, 400)
    ]
    for answer in (refused, lost, itself, malformed):
        assert ours(answer) == OURS
    assert unhardened.status == 502
    assert ours(unhardened) == []


@pytest.mark.parametrize("path", ["/shared/7", "/every"])
async def test_proxy_answers_preflights(tmp_path: Path, path: str) -> None:
    """Without a token or a token of a bucket, and without asking the backend."""
    asked = Asked()
    async with backend(asked.play) as port:
        url = f"http://127.0.0.1:{port}"
        with proxy_process(tmp_path, POLICY, BACKEND_URL=url) as proxy:
            answers = [await preflight(proxy, path) for _ in range(5)]
            stranger = await preflight(proxy, path, origin="https://evil.example")
            shown = proxy.ask("/metrics")[1]

    assert asked.heads == []
    for answer in answers:
        assert (answer.status, answer.body) == (204, b"")
        assert answer["Access-Control-Allow-Origin"] == "https://app.example"
        assert answer["Access-Control-Allow-Methods"] == "GET"
        assert answer["Access-Control-Max-Age"] == "600"
        assert "X-Request-ID" in answer
    assert stranger.status == 403
    assert b'"reason": "origin-not-allowed"' in stranger.body
    assert "access-control-allow-origin" not in stranger
    assert 'reason="origin-not-allowed"' in shown


async def test_pages_read_answers_and_refusals(tmp_path: Path) -> None:
    """The backend's word does not count, and a page learns why it was refused."""
    asked = Asked()
    async with backend(asked.play) as port:
        url = f"http://127.0.0.1:{port}"
        with proxy_process(tmp_path, POLICY, BACKEND_URL=url) as proxy:
            mine = [
                await get(proxy, "/shared/7", "Origin: https://app.example")
                for _ in range(4)
            ]
            theirs = await get(proxy, "/every", "Origin: https://evil.example")

    assert [one.status for one in mine] == [200, 200, 200, 429]
    for answer in mine:
        assert answer["Access-Control-Allow-Origin"] == "https://app.example"
        assert answer["Access-Control-Allow-Credentials"] == "true"
        assert answer["Vary"] == "Origin"
    assert theirs.status == 200
    assert "access-control-allow-origin" not in theirs


async def test_other_preflights_are_requests_like_any_other(tmp_path: Path) -> None:
    """A rule without cors, a method without a rule, and a service that answers them."""
    asked = Asked()
    async with backend(asked.play) as port:
        url = f"http://127.0.0.1:{port}"
        with proxy_process(tmp_path, POLICY, BACKEND_URL=url) as proxy:
            none = await preflight(proxy, "/page")
            method = await preflight(proxy, "/shared/7", method="PUT")
            own = await preflight(proxy, "/own")

    assert (none.status, method.status, own.status) == (405, 405, 200)
    assert [head.split()[1] for head in asked.heads] == [b"/own"]


async def test_reload_changes_what_answers_get(tmp_path: Path) -> None:
    """The fields are the policy's that is in force."""
    asked = Asked()
    async with backend(asked.play) as port:
        url = f"http://127.0.0.1:{port}"
        with proxy_process(tmp_path, POLICY, BACKEND_URL=url) as proxy:
            before = proxy.ask("/policy")[1]["digest"]
            proxy.policy.write_text(
                POLICY.replace(
                    "max-age=31536000}", "max-age=60, Cache-Control: no-store}"
                )
            )
            proxy.tell(signal.SIGHUP)
            await eventually(lambda: proxy.ask("/policy")[1]["digest"] != before)
            answer = await get(proxy, "/page")

    assert answer["Strict-Transport-Security"] == "max-age=60"
    assert answer["Cache-Control"] == "no-store"
