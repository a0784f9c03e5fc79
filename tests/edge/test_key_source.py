"""The keys of issuers: fetched ahead of need, and kept when nobody answers."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from proxy.core.authn import Authenticator, IssuerKeys, Trusted, Unsettled
from proxy.core.errors import Refused
from proxy.core.issuer import Issuer, RemoteKeys
from proxy.core.jwk import MAX_SET_BYTES
from proxy.core.reasons import Reason
from proxy.edge import key_fetch, key_source
from proxy.edge.key_source import KeySource
from tests.oidc_server import OidcProvider, oidc_provider
from tests.wire import Client, backend, eventually

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
JWK = {
    **jwt.get_algorithm_by_name("RS256").to_jwk(KEY.public_key(), as_dict=True),
    "kid": "1",
}
KEY_SET = json.dumps({"keys": [JWK]}).encode()
LONG = 3600.0


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcProvider]:
    """Yield a provider; tests leave it well, with whatever keys."""
    with oidc_provider() as running:
        yield running


def an_issuer(name: str, url: str, **remote: Any) -> Issuer:
    """Return an issuer whose keys are at ``url``."""
    return Issuer(
        id="people",
        issuer=name,
        audience=("lms",),
        algorithms=("RS256",),
        keys=(),
        roles=("role",),
        remote=RemoteKeys(url=url, **{"refresh": LONG, "keep": LONG} | remote),
    )


@contextlib.asynccontextmanager
async def looking_after(
    issuer: Issuer, *, cooldown: float = 0.0
) -> AsyncIterator[tuple[KeySource, Trusted]]:
    """Yield who looks after an issuer's keys, after the first look, and the keys."""
    trusted = Trusted()
    source = KeySource(trusted.keys, cooldown=cooldown)
    source.configure([issuer])
    await source.first_look(10.0)
    try:
        yield source, trusted
    finally:
        await source.stop()


def question(issuer: Issuer, kid: str | None = "1") -> Unsettled:
    """Return what a token with this kid asks."""
    return Unsettled(Refused(Reason.KEY_UNKNOWN), issuer, kid)


def kids(keys: IssuerKeys, issuer: Issuer) -> list[str | None] | None:
    """Return the kids of the keys in force."""
    held = keys.of(issuer.issuer)
    return None if held is None else [key.kid for key in held]


class Server:
    """A web server whose answer a test sets.

    Attributes:
        answer: whole, head and body; None to answer nothing.
        asked: the request lines so far.
    """

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.port = 0

    @property
    def url(self) -> str:
        """Where its keys would be."""
        return f"http://127.0.0.1:{self.port}/jwks"

    async def play(self, client: Client) -> None:
        """Answer each request of one connection."""
        while True:
            head = await client.reader.readuntil(b"\r\n\r\n")
            self.asked.append(head.decode().partition("\r\n")[0])
            if self.answer is None:
                await client.reader.read()
                return
            await client.send(self.answer)


def answer(body: bytes = KEY_SET, status: str = "200 OK", *lines: str) -> bytes:
    """Return a response."""
    head = "\r\n".join((f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}"))
    return head.encode() + b"\r\n\r\n" + body


@contextlib.asynccontextmanager
async def server(said: bytes | None) -> AsyncIterator[Server]:
    """Run a server."""
    one = Server(said)
    async with backend(one.play) as one.port:
        yield one


async def test_a_providers_keys_verify_its_tokens(provider: OidcProvider) -> None:
    """What it publishes, found by its metadata, verifies what it signs."""
    issuer = an_issuer(provider.issuer, provider.discovery, discovery=True)
    async with looking_after(issuer) as (source, trusted):
        token = provider.token()["access_token"]
        by = Authenticator({"people": issuer}, trusted=trusted)
        found = by.authenticate(f"Bearer {token}".encode(), 0.0 + _now())

        assert (found.subject, found.roles) == ("machine", ("teacher",))
        assert (source.state, source.complete) == ("ok", True)
        assert source.failures() == [(("people",), 0.0)]
        assert 0.0 <= source.ages()[0][1] < 10.0


def _now() -> float:
    """Return the time as tokens have it, rounded up."""
    import time  # noqa: PLC0415 - the one place of this file

    return time.time() + 1.0


async def test_an_unknown_key_is_looked_for_once_for_all(
    provider: OidcProvider,
) -> None:
    """However many tokens name a new key, the provider is asked once, and all pass."""
    issuer = an_issuer(provider.issuer, provider.jwks)
    async with looking_after(issuer) as (source, trusted):
        new = provider.keys("rotate")[0]
        seen = provider.seen("/jwks")
        waiting = [source.inquire(question(issuer, new)) for _ in range(500)]
        answered = [await waiter for waiter in waiting]

        assert answered == [True] * 500
        assert new in (kids(trusted.keys, issuer) or [])
        assert provider.seen("/jwks") == seen + 1


async def test_a_key_that_was_not_found_is_not_looked_for_again() -> None:
    """Whoever makes up a key costs one look, and then an answer at once."""
    async with server(answer()) as one:
        issuer = an_issuer("id", one.url)
        async with looking_after(issuer) as (source, _):
            first = source.inquire(question(issuer, "no"))

            assert not first.done
            assert await first

            again = source.inquire(question(issuer, "no"))

            assert again.done
            assert again.result()
            assert len(one.asked) == 2


async def test_looks_are_rate_limited() -> None:
    """Made-up keys cause one look in each cooldown; nobody is forgotten."""
    async with server(answer()) as one:
        issuer = an_issuer("id", one.url)
        async with looking_after(issuer, cooldown=0.2) as (source, _):
            loop = asyncio.get_running_loop()
            began = loop.time()
            for round_ in range(3):
                made_up = [question(issuer, f"{round_}-{n}") for n in range(200)]
                for waiter in [source.inquire(one) for one in made_up]:
                    assert await waiter
            took = loop.time() - began

            assert len(one.asked) == 1 + 3
            assert took > 2 * 0.2


async def test_whoever_comes_during_a_look_waits_for_the_next() -> None:
    """A look that began before a key was published says nothing about it."""
    async with server(answer()) as one:
        issuer = an_issuer("id", one.url)
        async with looking_after(issuer) as (source, trusted):
            one.answer = None
            first = source.inquire(question(issuer, "2"))
            await eventually(lambda: len(one.asked) == 2)
            one.answer = answer(json.dumps({"keys": [JWK | {"kid": "2"}]}).encode())
            second = source.inquire(question(issuer, "2"))

            assert not await first
            assert await second
            assert kids(trusted.keys, issuer) == ["2"]


async def test_waiting_requests_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound, a token with a made-up key is answered with what is known."""
    monkeypatch.setattr(key_source, "MAX_WAITING", 3)
    async with server(answer()) as one:
        issuer = an_issuer("id", one.url)
        async with looking_after(issuer, cooldown=LONG) as (source, _):
            waiting = [source.inquire(question(issuer, f"{n}")) for n in range(4)]

            assert [waiter.done for waiter in waiting] == [False, False, False, True]
    assert [await waiter for waiter in waiting] == [False, False, False, True]


async def test_before_the_first_answer_requests_wait_for_it() -> None:
    """At a start or a reload with a new issuer, nobody waits for two looks."""
    async with server(None) as one:
        issuer = an_issuer("id", one.url)
        source = KeySource(IssuerKeys(), cooldown=LONG)
        source.configure([issuer])
        await eventually(lambda: len(one.asked) == 1)
        waiter = source.inquire(question(issuer))

        assert not source.complete
        assert source.state == "none of people"

        await source.stop()

        assert await waiter is False


async def test_keys_are_refreshed_in_the_background() -> None:
    """Nobody has to ask for a key that is published in time."""
    async with server(answer()) as one:
        issuer = an_issuer("id", one.url, refresh=0.05)
        async with looking_after(issuer) as (_, trusted):
            one.answer = answer(
                json.dumps({"keys": [JWK, JWK | {"kid": "2"}]}).encode()
            )
            await eventually(lambda: kids(trusted.keys, issuer) == ["1", "2"])


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        pytest.param(answer(b"<html>"), "no JWK Set", id="html"),
        pytest.param(answer(b"", "503 Busy"), "answered 503", id="error"),
        pytest.param(
            answer(b"", "302 Found", "Location: https://id.example/jwks"),
            "answered 302",
            id="redirect",
        ),
        pytest.param(answer(b" " * (MAX_SET_BYTES + 9)), "is longer", id="long"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 999_999, "longer", id="endless"
        ),
        pytest.param(b"SMTP\r\n\r\n", "does not answer", id="no HTTP"),
        pytest.param(None, "in time", id="silence"),
        pytest.param(
            answer(b"\x1f\x8b\x08\x00", "200 OK", "Content-Encoding: gzip"),
            "no JWK Set",
            id="compressed",
        ),
    ],
)
async def test_keys_stay_good_when_nobody_answers_for_them(
    said: bytes | None,
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Another answer changes no key; it is counted, logged once and shown."""
    monkeypatch.setattr(key_fetch, "TIMEOUT", aiohttp.ClientTimeout(total=0.2))
    caplog.set_level(logging.INFO, "lumina.keys")
    async with server(answer()) as one:
        issuer = an_issuer("id", one.url)
        async with looking_after(issuer) as (source, trusted):
            one.answer = said

            assert await source.inquire(question(issuer, "2")) is False
            assert "people" in (await source.refresh())
            assert kids(trusted.keys, issuer) == ["1"]
            assert source.state == "not refreshed: people"
            assert source.failures()[0][1] >= 2
            assert caplog.text.count(problem) == 1

            one.answer = answer()

            assert await source.refresh() == {"people": "ok"}
            assert source.state == "ok"
            assert "fetched again" in caplog.text


async def test_keys_are_not_good_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    """Once nobody answered for them for as long as may be, none is good."""
    async with server(answer()) as one:
        issuer = an_issuer("id", one.url, keep=0.2)
        async with looking_after(issuer) as (source, trusted):
            one.answer = answer(b"", "500 Oh")
            await eventually(lambda: kids(trusted.keys, issuer) is None)

            assert source.state == "none of people"
            assert source.complete
            assert "its keys are too old" in caplog.text


async def test_keys_that_may_not_be_used_are_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A private key is no key of ours; the log says so once, without it."""
    private = jwt.get_algorithm_by_name("RS256").to_jwk(KEY, as_dict=True)
    both = json.dumps({"keys": [private, JWK]}).encode()
    async with server(answer(both)) as one:
        issuer = an_issuer("id", one.url)
        async with looking_after(issuer) as (source, trusted):
            await source.refresh()

            assert kids(trusted.keys, issuer) == ["1"]
            assert caplog.text.count("keys[0]: a private or symmetric key") == 1
            assert private["d"] not in caplog.text


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        pytest.param({"issuer": "other"}, "of another issuer", id="another"),
        pytest.param({"issuer": "id"}, "no https address", id="nothing"),
        pytest.param(
            {"issuer": "id", "jwks_uri": "http://id.example/jwks"},
            "no https",
            id="http",
        ),
        pytest.param(
            {"issuer": "id", "jwks_uri": "file:/etc/passwd"}, "no https", id="file"
        ),
        pytest.param({"issuer": "id", "jwks_uri": 7}, "no https", id="number"),
        pytest.param([], "no JSON object", id="array"),
        pytest.param("x", "no JSON object", id="string"),
    ],
)
async def test_metadata_is_of_the_issuer_itself(metadata: Any, problem: str) -> None:
    """It names the issuer exactly, and keys where nobody else can put some."""
    async with server(answer(json.dumps(metadata).encode())) as one:
        issuer = an_issuer("id", one.url, discovery=True)
        async with looking_after(issuer) as (source, _):
            assert problem in (await source.refresh())["people"]


async def test_metadata_that_is_no_json_is_refused() -> None:
    """Nothing is made of it."""
    async with server(answer(b"{")) as one:
        issuer = an_issuer("id", one.url, discovery=True)
        async with looking_after(issuer) as (source, _):
            assert "no JSON object" in (await source.refresh())["people"]


async def test_keys_of_a_file_follow_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is read again untold; half a file, or none, changes nothing."""
    monkeypatch.setattr(key_source, "FILE_REFRESH", 0.02)
    file = tmp_path / "keys of an issuer.json"
    file.write_bytes(KEY_SET)
    issuer = an_issuer("id", f"file:{file}")
    async with looking_after(issuer) as (source, trusted):
        assert kids(trusted.keys, issuer) == ["1"]

        file.write_bytes(KEY_SET[:-20])
        await eventually(lambda: "not refreshed" in source.state)
        file.unlink()
        await eventually(lambda: "No such file" in _problem(source))

        assert kids(trusted.keys, issuer) == ["1"]

        file.write_text(json.dumps({"keys": [JWK | {"kid": "2"}]}))
        await eventually(lambda: kids(trusted.keys, issuer) == ["2"])


def _problem(source: KeySource) -> str:
    """Return what was wrong with the last look of the only source."""
    [one] = source._sources.values()
    return one.problem


async def test_a_reload_keeps_the_keys_of_what_did_not_change() -> None:
    """An issuer with other keys begins anew; one that is gone is forgotten."""
    async with server(answer()) as one:
        issuer = an_issuer("id", one.url)
        async with looking_after(issuer) as (source, trusted):
            source.configure([an_issuer("id", one.url)])

            assert len(one.asked) == 1
            assert kids(trusted.keys, issuer) == ["1"]

            source.configure([an_issuer("id", f"{one.url}?other")])

            assert kids(trusted.keys, issuer) is None
            assert await source.inquire(question(issuer))
            assert kids(trusted.keys, issuer) == ["1"]

            source.configure([])

            assert kids(trusted.keys, issuer) is None
            assert await source.inquire(question(issuer)) is False
            assert source.ages() == []


async def test_a_refresh_that_nobody_waits_for_happens() -> None:
    """SIGHUP asks every issuer again."""
    async with server(answer()) as one:
        issuer = an_issuer("id", one.url)
        async with looking_after(issuer) as (source, _):
            source.refresh_soon()
            await eventually(lambda: len(one.asked) == 2)


async def test_a_bug_leaves_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Should looking fail as nobody thought, it is logged, and answered for."""

    async def fails(*_: object) -> None:
        raise RuntimeError("a bug")

    async with server(answer()) as one:
        issuer = an_issuer("id", one.url)
        async with looking_after(issuer) as (source, trusted):
            monkeypatch.setattr(key_source, "fetch_keys", fails)
            waiter = source.inquire(question(issuer, "2"))
            await eventually(lambda: "no longer fetched" in caplog.text)

            assert await waiter is False
            assert await source.inquire(question(issuer, "2")) is False
            assert kids(trusted.keys, issuer) == ["1"]


async def test_without_issuers_nothing_is_done() -> None:
    """A policy with static keys costs no session and no task."""
    source = KeySource(IssuerKeys())
    source.configure([])
    await source.first_look(0.0)

    assert (source.state, source.complete, await source.refresh()) == ("ok", True, {})

    await source.stop()
