"""The same job on aiohttp's server and client: what a proxy costs that is not ours.

Not a straw man: tokens that were verified are remembered, the bucket is one EVALSHA,
the client pools its connections, and uvloop runs it all. Run as
``python aiohttp_gateway.py PORT BACKEND REDIS SECRET SCRIPT PER_SECOND BURST``.
"""

import sys
import time
from collections.abc import Awaitable
from typing import cast

import jwt
import prometheus_client
import redis.asyncio
import uvloop
from aiohttp import ClientSession, DummyCookieJar, TCPConnector, web

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "host"}
REMEMBERED = 100_000


class Gateway:
    """Verifies, takes, forwards, counts."""

    def __init__(self, arguments: list[str]) -> None:
        backend, store, secret, script, per_second, burst = arguments
        self._backend = f"http://127.0.0.1:{backend}"
        self._store = redis.asyncio.Redis(port=int(store))
        self._secret = secret
        self._take = (script, 1)
        self._rate = (per_second, burst)
        self._claims: dict[str, dict[str, object]] = {}
        self._seconds = prometheus_client.Histogram("gateway_seconds", "Of a request.")
        self._client: ClientSession | None = None

    async def client(self, _app: web.Application) -> None:
        """Open the pool, on the loop that it serves."""
        self._client = ClientSession(
            connector=TCPConnector(limit=256, keepalive_timeout=600),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
        )

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        started = time.perf_counter()
        try:
            subject = self._subject(request.headers.get("Authorization", ""))
        except jwt.InvalidTokenError:
            return web.Response(status=401)
        asked = self._store.evalsha(*self._take, f"bench:{subject}", *self._rate)
        if await cast("Awaitable[int]", asked) != 1:
            return web.Response(status=429)
        answer = await self._forward(request)
        self._seconds.observe(time.perf_counter() - started)
        return answer

    def _subject(self, authorization: str) -> object:
        token = authorization[7:]
        claims = self._claims.get(token)
        if claims is None:
            claims = jwt.decode(
                token, self._secret, ["HS256"], audience="lms", issuer="lumina"
            )
            if len(self._claims) < REMEMBERED:
                self._claims[token] = claims
        if cast("int", claims["exp"]) < time.time():
            raise jwt.ExpiredSignatureError
        return claims["sub"]

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        if self._client is None:
            raise RuntimeError
        passed = [
            (name, value)
            for name, value in request.headers.items()
            if name.lower() not in HOP_BY_HOP
        ]
        async with self._client.request(
            request.method,
            self._backend + request.raw_path,
            headers=passed,
            data=request.content if request.body_exists else None,
            allow_redirects=False,
        ) as got:
            kept = [
                (name, value)
                for name, value in got.headers.items()
                if name.lower() not in HOP_BY_HOP
            ]
            return web.Response(
                status=got.status, headers=dict(kept), body=await got.read()
            )


def main(port: int, arguments: list[str]) -> None:
    """Serve until a signal comes."""
    uvloop.install()
    gateway = Gateway(arguments)
    app = web.Application()
    app.on_startup.append(gateway.client)
    app.router.add_route("*", "/{path:.*}", gateway.handle)
    web.run_app(
        app, host="127.0.0.1", port=port, access_log=None, keepalive_timeout=600
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
