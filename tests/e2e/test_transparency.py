"""What policy does not touch is the same with and without the proxy."""

import asyncio
import io
import os
from collections.abc import AsyncIterator

import aiohttp
import pytest
from yarl import URL

from tests.e2e.conftest import Stack

OWN = frozenset(
    (
        "connection",
        "content-length",  # compared with the body instead: framing is ours
        "date",
        "keep-alive",
        "ratelimit",
        "ratelimit-policy",
        "transfer-encoding",
        "x-request-id",
    )
)
"""The field names in which the two may differ."""

CORPUS = [
    ("GET", "/", {}, b""),
    ("HEAD", "/", {}, b""),
    ("GET", "/login", {}, b""),
    ("GET", "/login?next=%2Fa%20b&x=%C3%A9", {}, b""),
    ("POST", "/login", {"Content-Type": "application/x-www-form-urlencoded"}, b"a=b"),
    ("GET", "/api/pathways", {}, b""),
    ("GET", "/api/pathways/999", {}, b""),
    ("GET", "/%61pi/pathways", {}, b""),
    (
        "POST",
        "/api/pathways",
        {"Content-Type": "application/json"},
        b'{"title": "\xc3\xa9"}',
    ),
    ("POST", "/api/pathways", {"Content-Type": "application/json"}, b"{broken"),
    (
        "POST",
        "/api/pathways",
        {"Content-Type": "application/json"},
        b'{"title": 1, "title": 2}',
    ),
    ("GET", "/api/assessments", {"Accept-Encoding": "gzip"}, b""),
    ("PUT", "/api/files/big.bin", {}, os.urandom(3_000_000)),
    ("GET", "/api/files/big.bin", {}, b""),
    ("GET", "/api/files/big.bin", {"Range": "bytes=10-19"}, b""),
    ("HEAD", "/api/files/big.bin", {}, b""),
    ("GET", "/api/files", {}, b""),
    ("GET", "/api/events?count=3&interval=0.01", {}, b""),
]


async def asked(
    session: aiohttp.ClientSession,
    base: str,
    request: tuple[str, str, dict[str, str], bytes],
    token: str,
) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return status, the field lines that must agree, and the body."""
    method, path, headers, body = request
    async with session.request(
        method,
        URL(base + path, encoded=True),
        headers={**headers, "Authorization": f"Bearer {token}"},
        data=io.BytesIO(body) if body else None,
        allow_redirects=False,
        auto_decompress=False,
    ) as response:
        lines = [
            (name.lower(), value)
            for name, value in response.headers.items()
            if name.lower() not in OWN
        ]
        return response.status, sorted(lines), await response.read()


async def a_token(session: aiohttp.ClientSession, base: str) -> str:
    """Register an administrator with the LMS itself and return a token."""
    person = {
        "email": "root@example.org",
        "name": "Root",
        "password": "correct horse",
        "role": "admin",
    }
    async with session.post(f"{base}/api/auth/register", json=person) as response:
        assert response.status == 201
    async with session.post(f"{base}/api/auth/login", json=person) as response:
        token: str = (await response.json())["token"]
    return token


async def test_routes_without_fields_are_the_same_bytes(stack: Stack) -> None:
    """Status, fields and bodies agree, request by request."""
    direct = f"http://127.0.0.1:{stack.backend}"
    proxied = f"http://127.0.0.1:{stack.data}"
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        token = await a_token(session, direct)
        for request in CORPUS:
            if request[0] in ("PUT", "POST"):
                # Both change the LMS, so only what is in the answer can be compared.
                first = await asked(session, direct, request, token)
                second = await asked(session, proxied, request, token)
                assert abs(first[0] - second[0]) <= 1, request[:2]  # 201 or 200
                continue
            expected = await asked(session, direct, request, token)
            actual = await asked(session, proxied, request, token)

            assert actual == expected, request[:2]


async def test_events_arrive_one_by_one(stack: Stack) -> None:
    """A stream is passed on as it comes, not when it ends."""
    async with aiohttp.ClientSession() as session:
        token = await a_token(session, f"http://127.0.0.1:{stack.backend}")
        async with session.get(
            f"http://127.0.0.1:{stack.data}/api/events?count=1000&interval=0.05",
            headers={"Authorization": f"Bearer {token}"},
        ) as response:
            async with asyncio.timeout(5):
                first = await response.content.readuntil(b"\n\n")

            assert first
            assert response.status == 200


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_uploads_arrive_whole(stack: Stack, *, chunked: bool) -> None:
    """A large body passes in constant memory, however it is framed."""
    payload = os.urandom(1_000_000) * 20

    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(payload), 100_000):
            yield payload[start : start + 100_000]

    async with aiohttp.ClientSession() as session:
        token = await a_token(session, f"http://127.0.0.1:{stack.backend}")
        url = f"http://127.0.0.1:{stack.data}/api/files/large.bin"
        headers = {"Authorization": f"Bearer {token}"}
        data = parts() if chunked else io.BytesIO(payload)
        async with session.put(url, data=data, headers=headers) as response:
            assert response.status == 201
        async with session.get(url, headers=headers) as response:
            assert await response.read() == payload
