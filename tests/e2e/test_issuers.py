"""A real OpenID provider and a real proxy: keys are replaced, and nobody notices."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.oidc_server import OidcProvider, oidc_provider
from tests.proxy_process import ProxyProcess, proxy_process
from tests.wire import Client, backend, eventually

POLICY = """\
version: 1
backends: {{lms: {{servers: ["{backend}"]}}}}
issuers:
  people:
    issuer: {provider.issuer}
    audience: lms
    algorithms: [RS256]
    discovery: {provider.discovery}
    roles: $.role
    types: at+jwt
    max_lifetime: 5m
    require: jti
roles: [teacher]
rules:
  - {{id: home, match: GET /, allow: [teacher]}}
  - {{id: open, match: GET /open, allow: anyone}}
"""


@pytest.fixture
def provider() -> Iterator[OidcProvider]:
    """Yield a provider of its own, for what is done to it stays done."""
    with oidc_provider() as running:
        yield running


async def hello(client: Client) -> None:
    """Answer every request at once."""
    while True:
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


@pytest.fixture
async def proxy(provider: OidcProvider, tmp_path: Path) -> AsyncIterator[ProxyProcess]:
    """Yield a proxy that trusts the provider."""
    async with backend(hello) as port:
        text = POLICY.format(backend=f"http://127.0.0.1:{port}", provider=provider)
        with proxy_process(tmp_path, text) as running:
            yield running


def get(token: str = "", path: str = "/") -> bytes:
    """Return a request."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n{authorization}\r\n".encode()


async def status(proxy: ProxyProcess, token: str = "", path: str = "/") -> int:
    """Return the status of one request on a connection of its own."""
    client = await Client.connect(proxy.data)
    try:
        return (await client.request(get(token, path))).status
    finally:
        await client.close()


def token_of(provider: OidcProvider) -> str:
    """Return a new token of the machine."""
    return str(provider.token()["access_token"])


async def test_keys_are_replaced_under_load_and_no_good_token_is_refused(
    provider: OidcProvider, proxy: ProxyProcess
) -> None:
    """Eight clients ask all the time, with tokens of both keys, through five rotations.

    The provider signs with a new key at once, without publishing it before. It is asked
    once for each at the most, for those that come together wait together.
    """
    good = [token_of(provider)]
    answers: dict[int, int] = {}
    going = True

    async def ask(number: int) -> None:
        client = await Client.connect(proxy.data)
        while going:
            token = good[number % len(good)]
            found = (await client.request(get(token))).status
            answers[found] = answers.get(found, 0) + 1
        await client.close()

    clients = [asyncio.create_task(ask(number)) for number in range(8)]
    seen = await asyncio.to_thread(provider.seen, "/jwks")
    for _ in range(5):
        await asyncio.to_thread(provider.keys, "rotate")
        new = await asyncio.to_thread(token_of, provider)
        served = answers.get(200, 0)
        good[:] = [good[-1], new]
        await eventually(lambda served=served: answers.get(200, 0) > served + 50)  # type: ignore[misc]
    going = False
    await asyncio.gather(*clients)

    assert set(answers) == {200}
    assert await status(proxy, good[-1]) == 200
    assert 0 < await asyncio.to_thread(provider.seen, "/jwks") - seen <= 5


async def test_a_withdrawn_key_ends_its_tokens_when_an_operator_asks(
    provider: OidcProvider, proxy: ProxyProcess
) -> None:
    """After an incident nobody waits for the next look: remembered tokens end, too."""
    token = token_of(provider)

    assert await status(proxy, token) == 200

    provider.keys("rotate")
    provider.keys("retire")

    assert await status(proxy, token) == 200

    told = await asyncio.to_thread(proxy.tell_admin, "/keys/refresh", {})

    assert told == (200, {"issuers": {"people": "ok"}})
    assert await status(proxy, token) == 401
    assert await status(proxy, token_of(provider)) == 200


async def test_an_issuer_that_is_away_is_no_outage(
    provider: OidcProvider, proxy: ProxyProcess
) -> None:
    """Known keys stay good; what only it can tell is a 503, and nobody's fault."""
    token = token_of(provider)
    provider.fail("/jwks", 500)
    provider.keys("rotate")
    strange = token_of(provider)

    assert await status(proxy, token) == 200
    assert await status(proxy, strange) == 503
    assert await status(proxy, path="/open") == 200

    ready, document = await asyncio.to_thread(proxy.ask, "/ready")

    assert (ready, document["checks"]["issuers"]) == (200, "not refreshed: people")

    provider.fail("/jwks", None)
    await asyncio.to_thread(proxy.tell_admin, "/keys/refresh", {})

    assert await status(proxy, strange) == 200


async def test_a_start_without_keys_is_not_ready(
    provider: OidcProvider, tmp_path: Path
) -> None:
    """Whoever rolls out keeps the old proxies; what needs no token is served."""
    provider.fail("/jwks", 500)
    async with backend(hello) as port:
        text = POLICY.format(backend=f"http://127.0.0.1:{port}", provider=provider)
        with proxy_process(tmp_path, text) as proxy:
            ready, document = await asyncio.to_thread(proxy.ask, "/ready")

            assert (ready, document["checks"]["issuers"]) == (503, "none of people")
            assert await status(proxy, path="/open") == 200
            assert await status(proxy, token_of(provider)) == 503

            provider.fail("/jwks", None)
            await asyncio.to_thread(proxy.tell_admin, "/keys/refresh", {})

            assert await status(proxy, token_of(provider)) == 200
            assert (await asyncio.to_thread(proxy.ask, "/ready"))[0] == 200
