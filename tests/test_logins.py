"""Guessing passwords, against a backend that knows them; in memory, by our clock."""

import itertools
from typing import Any

import pytest

from proxy.bodies import Bodies
from proxy.core.errors import Refused
from proxy.core.exchange import Exchange
from proxy.core.headers import examine
from proxy.core.message import Request, Whole
from proxy.core.policy import Rule
from proxy.core.policy_parser import parse_policy
from proxy.core.reasons import Reason
from proxy.edge.bucket_store import MemoryStore
from proxy.edge.limiter import Limiter
from proxy.logins import Logins
from proxy.ports import Clocks, Snapshot
from proxy.taking import Taking

POLICY = """
version: 1
backends: {lms: {servers: ["http://127.0.0.1:9"]}}
limits:
  one: {concurrent: 9, per: client}
logins:
  people:
    account: {json: $.email, form: email}
    per_account: {free: 10, wait: 1m, most: 1h}
    per_client: {free: 20, wait: 10s, most: 15m}
    per_known: {free: 3, wait: 30s, most: 15m}
    known_for: 30d
rules:
  - {id: login, match: POST /login, allow: anyone, limits: [one], login: people}
  - {id: shadow, match: POST /try, allow: anyone, login: people, mode: shadow}
"""
PASSWORD, WRONG = "sesame", "wrong"
DAY = 86_400.0


class Piecemeal(Whole):
    """A body that is not all there when somebody looks."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.complete = False


class Door:
    """A login form, whose backend knows one password for everybody."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.policy, _ = parse_policy([("policy.yaml", POLICY)], {})
        self.store = MemoryStore(lambda: int(self.now * 1_000_000))
        ids = itertools.count()
        clocks = Clocks(
            wall=lambda: self.now,
            monotonic=lambda: self.now,
            request_id=lambda: f"id-{next(ids)}",
        )
        self.taking = Taking(self.store, clocks, lambda: 0.0)
        recorder: Any = None
        bodies = Bodies(
            recorder, clocks.monotonic, body_bytes=10_000, buffered_bytes=200
        )
        self.logins = Logins(self.store, bodies, self.taking)
        nothing: tuple[Any, Any] = (None, None)
        self.snapshot = Snapshot(self.policy, *nothing, limit_secret=b"s")
        self.limiter = Limiter(
            self.store,
            lambda: self.policy,
            now_us=lambda: int(self.now * 1_000_000),
            secret=lambda: b"s",
        )
        self.body = b""
        self.exchange = Exchange()

    def rule(self, name: str) -> Rule:
        """Return a rule by its id."""
        return next(rule for rule in self.policy.rules if rule.id == name)

    async def begin(
        self,
        account: str,
        client: str,
        password: str = WRONG,
        *,
        rule: str = "login",
        streamed: bool = False,
    ) -> Exchange:
        """Begin to log in."""
        body = b'{"email": "%b", "password": "%b"}' % (
            account.encode(),
            password.encode(),
        )
        fields = [
            (b"host", b"Host", b"lms"),
            (b"content-type", b"Content-Type", b"application/json"),
            (b"content-length", b"Content-Length", b"%d" % len(body)),
        ]
        request = Request("POST", "/", "1.1", fields, peer=client, peer_trusted=False)
        request.body = Whole(body)
        if streamed:
            request.body = Piecemeal(body)
        exchange = self.exchange = Exchange("POST", self.now, client)
        exchange.path = "/login"
        headers = examine(request.headers, "1.1")
        named = self.rule(rule)
        takes = self.taking.takes(self.snapshot, named, request, headers, exchange)
        if takes:
            self.taking.grant(takes, await self.store.take(takes), exchange)
        await self.logins.check(self.snapshot, named, request, headers, exchange)
        self.body = request.body.whole()
        exchange.upstream_started = self.now
        exchange.status = 200 if password == PASSWORD else 401
        return exchange

    async def status(self, account: str, client: str, password: str = WRONG) -> int:
        """Log in, and return the status."""
        try:
            await self.begin(account, client, password)
        except Refused as refused:
            self.exchange.status = refused.reason.status
        self.taking.settle(self.exchange)
        return self.exchange.status


@pytest.fixture
def door() -> Door:
    """Give a door."""
    return Door()


OWNER, HOME = "ada@example.org", "198.51.100.7"


async def test_a_spread_out_attack_on_an_account_is_stopped(door: Door) -> None:
    """From a thousand addresses as from one; and the owner gets in, from home."""
    assert await door.status(OWNER, HOME, PASSWORD) == 200
    door.now += DAY

    statuses = [
        await door.status(OWNER, f"203.0.{n // 250}.{n % 250}") for n in range(1000)
    ]

    assert statuses == [401] * 10 + [429] * 990
    assert await door.status(OWNER, HOME, PASSWORD) == 200
    assert await door.status(OWNER, "203.0.113.200", PASSWORD) == 429
    assert await door.status("bob@example.org", "203.0.113.200", PASSWORD) == 200


async def test_guesses_get_slower_and_slower(door: Door) -> None:
    """In a day a botnet has ten guesses, and little more than one an hour."""
    guesses = 0
    for minute in range(24 * 60):
        client = f"203.0.{minute // 250}.{minute % 250}"
        guesses += await door.status(OWNER, client) == 401
        door.now += 60

    assert 10 + 23 < guesses < 10 + 6 + 25


async def test_one_password_for_many_accounts_is_stopped(door: Door) -> None:
    """It is the client who waits then, and no account."""
    statuses = [await door.status(f"user-{n}@x.org", "203.0.113.9") for n in range(50)]

    assert statuses == [401] * 20 + [429] * 30
    assert await door.status("user-49@x.org", "203.0.113.10", PASSWORD) == 200


async def test_a_known_client_that_guesses_waits_too(door: Door) -> None:
    """By itself: from elsewhere the account has its own count."""
    assert await door.status(OWNER, HOME, PASSWORD) == 200
    statuses = [await door.status(OWNER, HOME) for _ in range(5)]

    assert statuses == [401, 401, 401, 429, 429]
    assert await door.status(OWNER, "203.0.113.1", PASSWORD) == 200
    door.now += 30
    assert await door.status(OWNER, HOME, PASSWORD) == 200
    statuses = [await door.status(OWNER, HOME) for _ in range(4)]
    assert statuses == [401, 401, 401, 429]


async def test_nobody_is_known_for_ever(door: Door) -> None:
    """A month after the last log-in a client is a stranger."""
    await door.status(OWNER, HOME, PASSWORD)
    door.now += 29 * DAY
    await door.status(OWNER, HOME, PASSWORD)
    door.now += 29 * DAY
    for n in range(10):
        await door.status(OWNER, f"203.0.113.{n}")
    assert await door.status(OWNER, HOME, PASSWORD) == 200
    door.now += 31 * DAY
    for n in range(10):
        await door.status(OWNER, f"203.0.113.{n}")

    assert await door.status(OWNER, HOME, PASSWORD) == 429


async def test_many_guesses_at_once_are_as_many_failures(door: Door) -> None:
    """Each counts before the backend has answered."""
    under_way = [await door.begin(OWNER, f"203.0.113.{n}") for n in range(10)]
    assert await door.status(OWNER, "203.0.113.99") == 429

    for exchange in under_way:
        exchange.status = 200
        door.taking.settle(exchange)

    assert await door.status(OWNER, "203.0.113.99") == 401


async def test_what_the_backend_did_not_judge_does_not_count(door: Door) -> None:
    """An error of its own, or of what was sent."""
    for status in (503, 422, 404):
        for n in range(30):
            exchange = await door.begin(OWNER, f"203.0.113.{n}")
            exchange.status = status
            door.taking.settle(exchange)

    assert await door.status(OWNER, "203.0.113.1") == 401


async def test_whoever_leaves_early_is_counted(door: Door) -> None:
    """Not to wait for the answer is no way around it, nor to be refused."""
    for n in range(10):
        exchange = await door.begin(OWNER, f"203.0.113.{n}")
        exchange.status = 0
        door.taking.settle(exchange)
    for _ in range(5):
        with pytest.raises(Refused):
            await door.begin(OWNER, "203.0.113.77")

    assert await door.status(OWNER, "203.0.113.78") == 429


async def test_a_log_in_that_waits_is_told_how_long(door: Door) -> None:
    """And nothing about whose count it is."""
    for n in range(10):
        await door.status(OWNER, f"203.0.113.{n}")
    with pytest.raises(Refused) as caught:
        await door.begin(OWNER, "203.0.113.99")

    assert caught.value.reason is Reason.LOGINS_DELAYED
    assert caught.value.violated == ("people",)
    assert caught.value.headers == (("Retry-After", "60"),)
    assert caught.value.detail == ""


async def test_in_shadow_mode_it_is_only_noted(door: Door) -> None:
    """The first that would have waited, with the reason."""
    seen = []
    for n in range(12):
        exchange = await door.begin(OWNER, f"203.0.113.{n}", rule="shadow")
        seen.append(exchange.shadow)
        door.taking.settle(exchange)

    assert seen[:10] == [None] * 10
    assert seen[10] is Reason.LOGINS_DELAYED
    assert await door.status(OWNER, "203.0.113.200") == 401


async def test_the_backend_gets_the_body_as_it_was(door: Door) -> None:
    """Whether it was all there, or came in pieces."""
    for streamed in (False, True):
        await door.begin(OWNER, HOME, streamed=streamed)

        assert door.body == b'{"email": "ada@example.org", "password": "wrong"}'


async def test_a_body_that_is_too_long_to_hold_is_refused(door: Door) -> None:
    """Whatever else the rule would take."""
    with pytest.raises(Refused) as caught:
        await door.begin("a" * 300, HOME)

    assert caught.value.reason is Reason.BODY_TOO_LARGE


async def test_an_operator_sees_and_resets_an_account(door: Door) -> None:
    """By its name, in any spelling, or a client by its address."""
    for n in range(10):
        await door.status(OWNER, f"203.0.113.{n}")
    status = await door.limiter.get_limit_status("ADA@example.org", "login")
    rows = {row.per: (row.burst, row.remaining) for row in status.limits}
    assert rows == {"client": (20, 20), "account": (10, 0)}

    found = door.limiter.found("ADA@example.org", "login", limit="people account")
    door.limiter.reset(found)

    assert await door.status(OWNER, "203.0.113.99") == 401
