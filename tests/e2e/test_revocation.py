"""Tokens that are revoked: on every process, within a second, by one command."""

import asyncio
import json
import shlex
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from click.testing import CliRunner, Result

from proxy.__main__ import main
from tests.documents import blocks, matches
from tests.proxy_process import ProxyProcess, key, proxy_process
from tests.redis_server import redis_server
from tests.wire import Client, backend

SECRET = key()
POLICY = """\
version: 1
backends: {{lms: {{servers: ["http://127.0.0.1:{port}"]}}}}
issuers:
  lumina:
    issuer: lumina
    audience: lms
    algorithms: [HS256]
    secret: "{secret}"
    roles: $.role
roles: [teacher]
rules:
  - {{id: home, match: GET /, allow: [teacher]}}
"""


async def hello(client: Client) -> None:
    """Answer every request at once."""
    while True:
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


@pytest.fixture
async def policy() -> AsyncIterator[str]:
    """Yield a policy, with a backend."""
    async with backend(hello) as port:
        yield POLICY.format(port=port, secret=SECRET)


def token(**claims: Any) -> str:
    """Return a token of a minute ago."""
    now = int(time.time())
    usual = {"iss": "lumina", "aud": "lms", "sub": "ada", "role": "teacher"}
    usual |= {"iat": now - 60, "exp": now + 600}  # type: ignore[dict-item]
    return jwt.encode(usual | claims, SECRET, "HS256")


async def statuses(proxy: ProxyProcess, text: str, times: int = 1) -> set[int]:
    """Return the statuses of requests on connections of their own."""

    async def one() -> int:
        client = await Client.connect(proxy.data)
        try:
            request = (
                f"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {text}\r\n\r\n"
            )
            return (await client.request(request.encode())).status
        finally:
            await client.close()

    return set(await asyncio.gather(*(one() for _ in range(times))))


async def run(proxy: ProxyProcess, *words: str, stdin: str = "") -> Result:
    """Run ``lumina-proxy token`` against a proxy."""
    command = ["token", *words, "--url", f"http://127.0.0.1:{proxy.metrics}"]
    return await asyncio.to_thread(CliRunner().invoke, main, command, input=stdin)


async def test_every_process_refuses_within_a_second(
    policy: str, tmp_path: Path
) -> None:
    """Two workers of one instance, and another instance, told by one command."""
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    with (
        redis_server(tmp_path) as redis,
        proxy_process(tmp_path, policy, WORKERS="2", REDIS_URL=redis.url) as proxy,
        proxy_process(other_folder, policy, REDIS_URL=redis.url) as other,
    ):
        mine, hers = token(jti="1"), token(sub="eve", jti="2")

        assert await statuses(proxy, mine, 20) == {200}
        assert await statuses(other, hers) == {200}

        done = await run(proxy, "revoke", "--sub", "ada", "--why", "laptop stolen")
        began = time.monotonic()

        assert done.exit_code == 0, done.output
        assert done.output.startswith("revoked: sub ada of lumina, issued before 20")
        assert "(laptop stolen)" in done.output

        while await statuses(other, mine) | await statuses(proxy, mine, 10) != {401}:
            assert time.monotonic() - began < 1.0
        assert await statuses(other, hers) == {200}
        assert await statuses(proxy, token(iat=int(time.time()) + 1)) == {401}
        assert "laptop stolen" in (await run(other, "list")).output

        again = await run(other, "restore", "--sub", "ada")

        assert (again.exit_code, again.output) == (0, "restored\n")

        while await statuses(proxy, mine, 10) != {200}:
            assert time.monotonic() - began < 10.0


async def test_a_token_is_revoked_by_what_it_is(policy: str, tmp_path: Path) -> None:
    """One token, those of a session, all; given as text it is never printed."""
    with proxy_process(tmp_path, policy) as proxy:
        one, two, three = (token(jti=f"{n}", sid=f"s{n}") for n in range(3))
        done = await run(proxy, "revoke", "--stdin", stdin=f"Bearer {one}\n")

        assert (done.exit_code, one in done.output) == (0, False)
        assert done.output.startswith("revoked: jti 0 of lumina, until 20")
        assert await statuses(proxy, one) == {401}
        assert await statuses(proxy, two) == {200}

        await run(proxy, "revoke", "--sid", "s1", "--for", "1h")

        assert await statuses(proxy, two) == {401}

        past = "2026-01-31T12:00:00Z"
        await run(proxy, "revoke", "--all", "--before", past)

        assert await statuses(proxy, three) == {200}

        every = await run(proxy, "revoke", "--all", "--json")

        assert json.loads(every.output)["shared"] is True
        assert await statuses(proxy, three) == {401}

        listed = await run(proxy, "list", "--json")
        kinds = [one["kind"] for one in json.loads(listed.output)["revocations"]]

        assert kinds == ["jti", "sid", "issuer"]
        assert "every token of lumina" in (await run(proxy, "list")).output


async def test_a_lost_redis_is_told_later(policy: str, tmp_path: Path) -> None:
    """The process that is asked refuses at once, and says that others do not know."""
    with (
        redis_server(tmp_path) as redis,
        proxy_process(tmp_path, policy, REDIS_URL=redis.url) as proxy,
    ):
        redis.kill()
        done = await run(proxy, "revoke", "--sub", "ada")

        assert done.exit_code == 0
        assert "other processes are told when it does" in done.stderr
        assert await statuses(proxy, token()) == {401}

        listed = await run(proxy, "list")

        assert "Redis does not answer" in listed.stderr
        assert (await run(proxy, "restore", "--sub", "bob")).exit_code == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("revoke",), "exactly one of --jti"),
        (("revoke", "--sub", "a", "--all"), "exactly one of --jti"),
        (("revoke", "--sub", "a", "--stdin"), "already says which"),
        (("revoke", "--stdin"), "no token with a jti"),
        (("revoke", "--sub", "a", "--before", "yesterday"), "2026-01-31"),
        (("revoke", "--sub", "a", "--before", "2026-01-31"), "2026-01-31"),
        (("revoke", "--sub", "a", "--for", "a month"), "12h or 30d"),
        (("restore",), "exactly one of --jti"),
    ],
)
def test_wrong_usage_is_explained(words: tuple[str, ...], message: str) -> None:
    """Before anybody is asked; a slip revokes nothing."""
    done = CliRunner().invoke(main, ["token", *words])

    assert (done.exit_code, message in done.output) == (2, True)


async def test_the_proxys_refusals_are_shown(policy: str, tmp_path: Path) -> None:
    """What the policy does not know is told by who knows the policy."""
    with proxy_process(tmp_path, policy) as proxy:
        stranger = await run(proxy, "revoke", "--sub", "a", "--issuer", "x")
        missing = await run(proxy, "restore", "--sub", "a", "--json")

        assert (stranger.exit_code, stranger.output) == (
            1,
            "Say which issuer: lumina\n",
        )
        assert (missing.exit_code, '"restored": false' in missing.output) == (1, True)
        assert (await run(proxy, "list")).output == "nothing is revoked\n"


def mint(policy: Path, *words: str) -> Result:
    """Run ``lumina-proxy token mint``."""
    return CliRunner().invoke(main, ["token", "mint", "--policy", str(policy), *words])


async def test_a_token_is_made_to_try(policy: str, tmp_path: Path) -> None:
    """It is good at once, and says what it was told to."""
    with proxy_process(tmp_path, policy) as proxy:
        made = mint(proxy.policy, "--role", "teacher", "--claim", 'acr="mfa"')
        text = made.output.strip()

        assert await statuses(proxy, text) == {200}
        assert jwt.decode(text, SECRET, ["HS256"], audience="lms")["acr"] == "mfa"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--issuer", "x"), 1, "--issuer NAME"),
        (("--for", "ever"), 2, "5m, 12h or 30d"),
        (("--claim", "acr=mfa"), 2, "has no value in JSON"),
    ],
)
def test_what_cannot_be_made_is_explained(
    words: tuple[str, ...], code: int, message: str, tmp_path: Path
) -> None:
    """With what to write instead."""
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY.format(port=9, secret=SECRET))
    made = mint(file, *words)

    assert (made.exit_code, message in made.output) == (code, True)


def test_several_issuers_have_to_be_told_apart(tmp_path: Path) -> None:
    """Roles go where the issuer has them, and the kid of its first key is named."""
    file = tmp_path / "policy.yaml"
    second = """\
  deep:
    issuer: deep
    audience: [lms]
    algorithms: [HS256]
    keys: [{kid: one, secret: "SECRET"}]
    roles: $.realm.roles
roles: [""".replace("SECRET", SECRET)
    file.write_text(POLICY.format(port=9, secret=SECRET).replace("roles: [", second, 1))
    text = mint(file, "--issuer", "deep", "--role", "a", "--role", "b").output.strip()

    assert mint(file).exit_code == 1
    assert jwt.get_unverified_header(text)["kid"] == "one"
    assert jwt.decode(text, SECRET, ["HS256"], audience="lms")["realm"] == {
        "roles": ["a", "b"]
    }


async def test_the_guide_does_as_it_says(policy: str, tmp_path: Path) -> None:
    """What the guide types against a running proxy prints what the guide shows."""
    [block] = [
        block
        for block in blocks("policies/README.md")
        if "lumina-proxy token revoke" in block.text and block.output
    ]
    with proxy_process(tmp_path, policy) as proxy:
        shown = ""
        for line in block.text.splitlines():
            words = shlex.split(line)

            assert words[:2] == ["lumina-proxy", "token"]

            shown += (await run(proxy, *words[2:])).output

        assert matches(block.output or "", shown)
