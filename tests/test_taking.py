"""What a request takes from its limits, and settles when it is over.

Over real buckets in memory; what the pipeline does with it is in test_pipeline.
"""

import itertools
from typing import Any

import pytest

from proxy.core.errors import Refused
from proxy.core.exchange import Exchange
from proxy.core.headers import examine
from proxy.core.message import Request, Whole
from proxy.core.policy import Policy, Rule
from proxy.core.policy_parser import parse_policy
from proxy.core.reasons import Reason
from proxy.edge.bucket_store import MemoryStore
from proxy.ports import Clocks, Snapshot
from proxy.taking import Taking

POLICY = """
version: 1
backends: {lms: {servers: ["http://127.0.0.1:9"], limits: [busy]}}
limits:
  busy: {concurrent: 3, per: everyone}
  few: {rate: 5/minute, per: client}
  noted: {rate: 1/minute, per: client, mode: shadow}
  one: {concurrent: 1, per: [client, path.id]}
  bytes: {rate: 10/minute, per: client, cost: {body: 10B}}
  said: {rate: 10/minute, per: client, cost: {response_header: X-Cost, usual: 2}}
  asked: {rate: 10/minute, per: [client, header.X-Key], cost: {header: X-Cost}}
  daily: {quota: 2/day, per: client}
rules:
  - {id: few, match: GET /few, allow: anyone, limits: [few]}
  - {id: noted, match: GET /noted, allow: anyone, limits: [few, noted]}
  - {id: one, match: "GET /one/{id}", allow: anyone, limits: [one]}
  - {id: bytes, match: PUT /bytes, allow: anyone, limits: [bytes]}
  - {id: said, match: GET /said, allow: anyone, limits: [said]}
  - {id: asked, match: GET /asked, allow: anyone, limits: [asked]}
  - {id: daily, match: GET /daily, allow: anyone, limits: [daily]}
  - {id: shadow, match: GET /shadow, allow: anyone, limits: [few], mode: shadow}
"""


@pytest.fixture(scope="module")
def policy() -> Policy:
    """Give the policy."""
    parsed, _ = parse_policy([("policy.yaml", POLICY)], {})
    return parsed


class World:
    """A store, clocks, and what takes from the one by the others."""

    def __init__(self, policy: Policy, deny_seconds: float = 0.0) -> None:
        self.policy = policy
        self.now = 1_800_000_000.0
        self.store = MemoryStore(lambda: int(self.now * 1_000_000))
        ids = itertools.count()
        clocks = Clocks(
            wall=lambda: self.now,
            monotonic=lambda: self.now,
            request_id=lambda: f"id-{next(ids)}",
        )
        self.taking = Taking(self.store, clocks, lambda: deny_seconds)
        self.snapshot = Snapshot(policy, *self.nothing(), limit_secret=b"s")

    @staticmethod
    def nothing() -> tuple[Any, Any]:
        """Return what limits never ask."""
        return None, None

    def rule(self, name: str) -> Rule:
        """Return a rule by its id."""
        return next(rule for rule in self.policy.rules if rule.id == name)

    async def request(
        self,
        name: str,
        *lines: tuple[bytes, bytes],
        path: str = "",
        client: str = "192.0.2.1",
        body: bytes = b"",
    ) -> Exchange:
        """Take for one request, which stays under way."""
        fields = [(b"host", b"Host", b"lms"), *((n.lower(), n, v) for n, v in lines)]
        request = Request("GET", "/", "1.1", fields, peer=client, peer_trusted=False)
        request.body = Whole(body)
        exchange = Exchange("GET", self.now, client)
        exchange.path = path or f"/{name}"
        headers = examine(request.headers, "1.1")
        takes = self.taking.takes(
            self.snapshot, self.rule(name), request, headers, exchange
        )
        self.taking.grant(takes, await self.store.take(takes), exchange)
        return exchange

    async def refusal(self, *args: Any, **more: Any) -> Refused:
        """Return why a request is refused."""
        with pytest.raises(Refused) as caught:
            await self.request(*args, **more)
        return caught.value

    def over(self, exchange: Exchange) -> None:
        """End a request."""
        assert exchange.bill is not None
        self.taking.settle(exchange)


@pytest.fixture
def world(policy: Policy) -> World:
    """Give a world at one instant."""
    return World(policy)


async def test_what_is_left_is_told(world: World) -> None:
    """Of every limit that is enforced, the backend's too."""
    exchange = await world.request("few")

    assert exchange.limited == (
        b'RateLimit-Policy: "few";q=5;w=60, "busy";q=3;qu="concurrent-requests"\r\n'
        b'RateLimit: "few";r=4;t=12, "busy";r=2\r\n'
    )
    assert exchange.pressed is None


async def test_a_limit_presses_near_its_end_and_over_it(world: World) -> None:
    """Observers are told, and so is who asks the table."""
    for _ in range(4):
        world.over(await world.request("few"))
    last = await world.request("few")
    world.over(last)
    refused = await world.refusal("few")

    assert last.pressed == [("few", "near")]
    assert refused.violated == ("few",)
    [row] = world.taking.pressure.rows(world.now, 9)
    assert (row.owner, row.near, row.over) == ("c:192.0.2.1", 1, 1)


async def test_a_limit_in_shadow_mode_notes_what_it_would_refuse(world: World) -> None:
    """And refuses nobody, nor keeps an enforced one from being taken."""
    world.over(await world.request("noted"))
    second = await world.request("noted")

    assert second.shadow is Reason.RATE_LIMITED
    assert second.pressed == [("noted", "shadow")]
    assert b'"few";r=3' in second.limited
    assert b"noted" not in second.limited


async def test_a_rule_in_shadow_mode_refuses_nobody(world: World) -> None:
    """None of its limits is told of, not even those of its backend."""
    exchanges = [await world.request("shadow") for _ in range(7)]

    assert all(exchange.limited == b"" for exchange in exchanges)
    assert [exchange.shadow for exchange in exchanges] == [
        *[None] * 3,
        *[Reason.RATE_LIMITED] * 4,
    ]


async def test_nothing_is_taken_of_what_was_noted_before(world: World) -> None:
    """What an earlier stage would have refused gets no further."""
    exchange = Exchange()
    exchange.note_shadow(Reason.TOKEN_MISSING, "")
    fields = [(b"host", b"Host", b"lms")]
    request = Request("GET", "/", "1.1", fields, peer="", peer_trusted=False)

    takes = world.taking.takes(
        world.snapshot, world.rule("few"), request, examine(fields, "1.1"), exchange
    )

    assert takes == []


async def test_what_is_held_ends_with_its_request(world: World) -> None:
    """One at a time, for each thing and each client."""
    first = await world.request("one", path="/one/7")
    assert (await world.refusal("one", path="/one/7")).violated == ("one",)
    await world.request("one", path="/one/8")
    await world.request("one", path="/one/7", client="192.0.2.2")
    world.over(first)

    assert (await world.request("one", path="/one/7")).limited.startswith(b"RateLimit")


async def test_what_is_held_is_renewed(world: World) -> None:
    """For as long as the request lasts, and no longer."""
    first = await world.request("one", path="/one/7")
    for _ in range(5):
        world.now += 6
        world.taking.renew()
    assert (await world.refusal("one", path="/one/7")).violated == ("one",)

    world.over(first)
    world.taking.renew()

    world.over(await world.request("one", path="/one/7"))
    world.taking.renew()
    assert len(world.store._holds) == 0


async def test_a_refused_request_holds_nothing(world: World) -> None:
    """And owes nothing: the others of its limits were not taken from."""
    held = [await world.request("few") for _ in range(3)]
    refused = await world.refusal("few")
    assert refused.violated == ("busy",)
    world.over(held[0])

    assert b'"few";r=1' in (await world.request("few")).limited


async def test_a_body_is_charged_when_it_has_come(world: World) -> None:
    """Where its length was not told."""
    chunked = (b"Transfer-Encoding", b"chunked")
    exchange = await world.request("bytes", chunked, body=b"x" * 55)
    assert b'"bytes";r=9' in exchange.limited
    world.over(exchange)
    told = await world.request("bytes", (b"Content-Length", b"35"), body=b"x" * 35)

    assert b'"bytes";r=0' in told.limited


async def test_the_answer_says_what_it_cost(world: World) -> None:
    """The rest is charged even if it is not there."""
    first = await world.request("said")
    assert b'"said";r=8' in first.limited
    assert first.bill is not None
    first.bill.headers = [(b"x-cost", b"X-Cost", b"9")]
    world.over(first)
    refused = await world.refusal("said")

    assert refused.violated == ("said",)
    assert dict(refused.headers)["Retry-After"] == "6"


async def test_a_request_says_what_it_costs(world: World) -> None:
    """And what it says of itself is a bucket of its own."""
    cost = (b"X-Cost", b"7")
    assert b'"asked";r=3' in (await world.request("asked", cost)).limited
    other = await world.request("asked", cost, (b"X-Key", b"k"))
    assert b'"asked";r=3' in other.limited

    refused = await world.refusal("asked", (b"X-Cost", b"all"))
    assert refused.reason is Reason.MALFORMED


async def test_a_quota_begins_anew_at_midnight(world: World) -> None:
    """And not before."""
    world.now = 1_800_000_000.0 - 1_800_000_000.0 % 86_400
    for _ in range(2):
        world.over(await world.request("daily"))
    world.now += 86_399
    refused = await world.refusal("daily")
    assert dict(refused.headers)["Retry-After"] == "1"
    world.now += 1

    assert b'"daily";r=1;t=86400' in (await world.request("daily")).limited


async def test_a_certain_refusal_asks_nobody(policy: Policy) -> None:
    """It counts as one, and says the same with the time that has passed."""
    world = World(policy, deny_seconds=5.0)
    for _ in range(5):
        world.over(await world.request("few"))
    first = await world.refusal("few")
    asked = world.store.refused
    world.now += 3

    again = await world.refusal("few")

    assert (asked, world.store.refused) == (1, 1)
    assert dict(first.headers)["Retry-After"] == "12"
    assert dict(again.headers)["Retry-After"] == "9"
    assert again.violated == ("few",)
    assert world.taking.pressure.rows(world.now, 1)[0].over == 2
    assert (await world.request("few", client="192.0.2.9")).limited
    world.now += 9
    assert (await world.request("few")).limited
