"""What operators tell about limits: checked, written down, done."""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from proxy.core.errors import Refused
from proxy.core.limits import takes_for
from proxy.core.policy_parser import parse_policy
from proxy.core.reasons import Reason
from proxy.edge.bucket_store import MemoryStore
from proxy.edge.limiter import Limiter
from proxy.limit_orders import LimitOrders
from proxy.ports import Clocks
from proxy.taking import Taking

POLICY = """
version: 1
backends:
  lms: {servers: ["http://127.0.0.1:9000"]}
limits:
  few: {rate: 5/minute, per: client}
  up: {concurrent: 2, per: client}
rules:
  - {id: few, match: GET /few, allow: anyone, limits: [few]}
  - {id: up, match: GET /up, allow: anyone, limits: [up]}
"""


class Desk:
    """Orders over a store in memory, and the audit log that they write."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, Mapping[str, object]]] = []
        self.writable = True
        self.policy, _ = parse_policy([("policy.yaml", POLICY)], {})
        self.store = MemoryStore(lambda: 0)
        limiter = Limiter(
            self.store, lambda: self.policy, now_us=lambda: 0, secret=lambda: b""
        )
        ids = itertools.count()
        clocks = Clocks(
            wall=lambda: 0.0, monotonic=lambda: 0.0, request_id=lambda: str(next(ids))
        )
        self.taking = Taking(self.store, clocks, lambda: 5.0)
        self.orders = LimitOrders(limiter, self.store, self.taking, self)

    def note(self, event: str, **fields: Any) -> None:
        """Note an event."""
        self.noted.append((event, fields))

    async def required(self, event: str, **fields: Any) -> None:
        """Note an event, or fail."""
        if not self.writable:
            raise Refused(Reason.AUDIT_UNAVAILABLE)
        self.note(event, **fields)

    async def tell(self, path: str, **told: Any) -> Mapping[str, object]:
        """Tell something."""
        return await self.orders.orders[f"/limits/{path}"](told)

    async def left(self) -> object:
        """Return what is left of the few."""
        return (await self.orders.status("ada", "few", None, {}))["remaining"]

    async def use_up(self) -> None:
        """Take all of the few, and be refused."""
        [rule] = [rule for rule in self.policy.rules if rule.id == "few"]
        takes = takes_for(rule.limits, role="", subject="", client="ada")
        await self.store.take([takes[0].costing(5)])
        grants = await self.store.take(takes)
        self.taking.denials.note(takes, grants, 0.0, 5.0)


@pytest.fixture
def desk() -> Desk:
    """Give a desk."""
    return Desk()


ASKED = {"who": "ada", "rule": "few", "reason": "ticket 7", "by": "op"}


async def test_a_reset_is_written_down_and_done(desk: Desk) -> None:
    """And whoever was certain to be refused is not any more."""
    await desk.use_up()

    done = await desk.tell("reset", **ASKED)

    assert done == {"shared": False, "limits": ["few"]}
    assert desk.noted == [("limits.reset", ASKED)]
    assert await desk.left() == 5
    assert len(desk.taking.denials) == 0


async def test_a_grant_is_written_down_and_done(desk: Desk) -> None:
    """On top of what is left."""
    await desk.use_up()

    await desk.tell("grant", **ASKED, tokens=7, seconds=60)

    assert desk.noted == [("limits.grant", {**ASKED, "tokens": 7, "seconds": 60})]
    assert await desk.left() == 7


@pytest.mark.parametrize("path", ["reset", "grant"])
async def test_what_was_done_elsewhere_is_only_forgotten(desk: Desk, path: str) -> None:
    """So that nothing is lent twice, nor written down twice."""
    await desk.use_up()

    await desk.tell(path, **ASKED, tokens=7, seconds=60, elsewhere=True)

    assert desk.noted == []
    assert await desk.left() == 0
    assert len(desk.taking.denials) == 0


async def test_what_cannot_be_written_down_is_not_done(desk: Desk) -> None:
    """Nor what the store cannot do."""
    await desk.use_up()
    desk.writable = False
    with pytest.raises(ValueError, match="The audit log cannot be written"):
        await desk.tell("reset", **ASKED)
    desk.writable = True
    desk.store.state = "degraded"
    with pytest.raises(ValueError, match="Redis does not answer"):
        await desk.tell("reset", **ASKED)

    assert await desk.left() == 0
    assert desk.noted == []


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"who": None}, "who is a text"),
        ({"who": "a\nb"}, "who is a text"),
        ({"rule": 7}, "rule is a text"),
        ({"rule": "nowhere"}, "no such rule"),
        ({"reason": ""}, "reason is a text"),
        ({"by": "x" * 501}, "by is a text"),
        ({"given": ["path.id"]}, "given is an object of strings"),
        ({"given": {"path.id": 7}}, "given is an object of strings"),
        ({"tokens": 0}, "tokens is a whole number"),
        ({"tokens": 1.5}, "tokens is a whole number"),
        ({"tokens": True}, "tokens is a whole number"),
        ({"tokens": 10**13}, "tokens is a whole number"),
        ({"seconds": 0}, "seconds is a number"),
        ({"seconds": "9"}, "seconds is a number"),
        ({"seconds": float("nan")}, "seconds is a number"),
        ({"rule": "up"}, "rates and quotas"),
    ],
    ids=str,
)
async def test_what_makes_no_sense_is_declined(
    desk: Desk, told: dict[str, Any], sentence: str
) -> None:
    """In a sentence, and nothing is changed."""
    meant = {**ASKED, "tokens": 5, "seconds": 60.0, **told}

    with pytest.raises(ValueError, match=sentence):
        await desk.tell("grant", **meant)

    assert await desk.left() == 5
