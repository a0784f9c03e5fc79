"""Which server gets a request, by what each is doing and how it has done."""

import asyncio
import tracemalloc
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.backends import (
    Backend,
    Balance,
    Breaker,
    Ejection,
    Server,
    Timeouts,
)
from proxy.core.errors import Refused
from proxy.core.reasons import Reason
from proxy.edge.balancer import MOST_SECONDS, Balancer, Tally
from proxy.edge.pool import Pool
from proxy.edge.upstream import UpstreamConnection

IN_TURN = Balance.ROUND_ROBIN
LEAST = Balance.LEAST_OUTSTANDING
BREAKER = Breaker()
EJECTION = Ejection(after=3, seconds=10.0)


class Loop:
    """A clock that a test sets, and the balancer of some servers."""

    def __init__(
        self,
        count: int,
        balance: Balance = LEAST,
        breaker: Breaker = BREAKER,
        ejection: Ejection | None = EJECTION,
    ) -> None:
        self.time = 100.0
        servers = tuple(Server(host="127.0.0.1", port=1 + one) for one in range(count))
        self.backend = Backend(
            id="lms",
            servers=servers,
            balance=balance,
            breaker=breaker,
            ejection=ejection,
        )
        self.tally = Tally()
        self.balancer = Balancer(self.backend, self.tally, lambda: self.time)
        pools = [Pool(one, Timeouts(), breaker, self.balancer) for one in servers]
        self.balancer.configure(self.backend, pools)

    @property
    def pools(self) -> list[Pool]:
        """The pools, in the order of the policy."""
        return self.balancer.pools

    def busy(self, *numbers: int) -> None:
        """Let each server have so many exchanges under way."""
        for pool, number in zip(self.pools, numbers, strict=True):
            pool.all = {UpstreamConnection(pool) for _ in range(number)}

    def chosen(self, times: int = 12) -> Counter[int]:
        """Choose so many times; count by the index of the server."""
        return Counter(self.pools.index(self.balancer.choose()) for _ in range(times))

    def fail(self, index: int, times: int = 3) -> None:
        """Let a server fail so many times in a row."""
        for _ in range(times):
            self.pools[index].failed()

    def out(self) -> list[bool]:
        """Return whether each server is ejected."""
        return [pool.ejected_until > self.time for pool in self.pools]


async def test_least_outstanding_is_chosen() -> None:
    """The server with the fewest exchanges under way gets the next one."""
    loop = Loop(3)
    loop.busy(5, 2, 9)

    assert loop.chosen() == {1: 12}


async def test_equally_busy_servers_take_turns() -> None:
    """Idle servers have the same share, and not the first one everything."""
    assert Loop(3).chosen() == {0: 4, 1: 4, 2: 4}


async def test_round_robin_does_not_look_at_load() -> None:
    """Each is chosen in turn, however busy it is."""
    loop = Loop(3, IN_TURN)
    loop.busy(5, 2, 9)

    assert loop.chosen() == {0: 4, 1: 4, 2: 4}


@pytest.mark.parametrize("balance", Balance)
async def test_servers_that_are_down_are_passed_over(balance: Balance) -> None:
    """While another is up."""
    loop = Loop(3, balance)
    loop.pools[1].up = False

    assert set(loop.chosen()) == {0, 2}


@pytest.mark.parametrize("balance", Balance)
async def test_when_all_are_down_all_are_asked(balance: Balance) -> None:
    """An answer that may come is better than a refusal that is certain."""
    loop = Loop(2, balance)
    for pool in loop.pools:
        pool.up = False

    assert loop.chosen() == {0: 6, 1: 6}


@pytest.mark.parametrize("balance", Balance)
async def test_full_servers_are_passed_over(balance: Balance) -> None:
    """One without room is no choice while another has some."""
    loop = Loop(2, balance, Breaker(connections=3, pending=0))
    loop.busy(3, 2)

    assert loop.chosen() == {1: 12}


async def test_full_server_that_is_up_makes_room_for_one_that_is_down() -> None:
    """A request rather tries a server that may be back than none."""
    loop = Loop(2, LEAST, Breaker(connections=3, pending=0))
    loop.busy(3, 0)
    loop.pools[1].up = False

    assert loop.chosen() == {1: 12}


async def test_servers_that_are_all_full_refuse() -> None:
    """With 503, and when to come back."""
    loop = Loop(2, LEAST, Breaker(connections=1, pending=0))
    loop.busy(1, 1)
    pool = loop.balancer.choose()
    with pytest.raises(Refused) as refused:
        await pool.exchange("GET", b"", b"", Timeouts())

    assert refused.value.reason is Reason.UPSTREAM_BUSY
    assert refused.value.headers == (("Retry-After", "1"),)


@pytest.mark.parametrize("count", [1, 3])
async def test_what_is_in_flight_is_bounded_over_all_servers(count: int) -> None:
    """The bound is the backend's, however many servers it has."""
    loop = Loop(count, LEAST, Breaker(in_flight=count * 2))
    assert loop.balancer.only is None
    loop.busy(*([2] * (count - 1)), 1)
    assert loop.balancer.choose() in loop.pools
    loop.busy(*([2] * count))
    with pytest.raises(Refused) as refused:
        loop.balancer.choose()

    assert refused.value.reason is Reason.UPSTREAM_BUSY


async def test_server_that_fails_too_often_in_a_row_gets_none() -> None:
    """For as long as the policy says; then it is asked again."""
    loop = Loop(2)
    loop.fail(0, 2)
    assert loop.out() == [False, False]
    loop.fail(0, 1)
    assert loop.out() == [True, False]
    assert loop.chosen() == {1: 12}
    assert loop.tally.ejections == {"127.0.0.1:1": 1}
    loop.time += 10.0

    assert loop.chosen() == {0: 6, 1: 6}


async def test_first_failure_after_an_ejection_ejects_again_and_longer() -> None:
    """One that is still broken costs one request at a time, and ever fewer of them."""
    loop = Loop(2)
    loop.fail(0)
    lengths = []
    for _ in range(40):
        lengths.append(loop.pools[0].ejected_until - loop.time)
        loop.time = loop.pools[0].ejected_until
        loop.fail(0, 1)

    assert lengths[:4] == [10.0, 20.0, 30.0, 40.0]
    assert lengths[-1] == MOST_SECONDS


async def test_good_service_is_remembered() -> None:
    """A server that has served for as long as it was out begins anew."""
    loop = Loop(2)
    loop.fail(0)
    loop.time = loop.pools[0].ejected_until
    loop.pools[0].failures = 0
    loop.time += 10.1
    loop.fail(0, 2)
    assert loop.out() == [False, False]
    loop.fail(0, 1)

    assert loop.pools[0].ejected_until - loop.time == 10.0


@pytest.mark.parametrize(
    ("count", "at_most", "expected"),
    [(1, None, 0), (2, None, 1), (3, None, 1), (4, None, 2), (4, 1, 1), (4, 4, 4)],
    ids=["one", "two", "three", "four", "four but one", "all four"],
)
async def test_some_always_stay(count: int, at_most: int | None, expected: int) -> None:
    """However many fail, no more are out at once than the policy lets."""
    loop = Loop(count, ejection=Ejection(after=3, at_most=at_most))
    for index in range(count):
        loop.fail(index, 10)

    assert sum(loop.out()) == expected


async def test_nobody_is_ejected_where_the_policy_says_none() -> None:
    """Failures are counted all the same."""
    loop = Loop(2, ejection=None)
    loop.fail(0, 100)

    assert loop.out() == [False, False]
    assert loop.tally.failures == {"127.0.0.1:1": 100}


async def test_another_server_is_another() -> None:
    """What a server did not take is not offered to it again."""
    loop = Loop(3)
    loop.busy(0, 7, 7)

    assert loop.balancer.other(loop.pools[0]) in loop.pools[1:]
    assert Loop(1).balancer.other(Loop(1).pools[0]) is None


async def test_one_server_needs_no_decision() -> None:
    """The common case is one attribute, and takes no memory."""
    loop = Loop(1)

    assert loop.balancer.only is loop.pools[0]


async def test_decision_among_several_takes_no_memory() -> None:
    """Nothing is allocated for a choice that would have to be collected."""
    loop = Loop(8)
    loop.busy(*range(8))
    loop.balancer.choose()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(1000):
            loop.balancer.choose()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert after - before < 1000


@given(
    loads=st.lists(st.integers(0, 4), min_size=1, max_size=6),
    data=st.data(),
    balance=st.sampled_from(Balance),
)
def test_choice_is_the_best_there_is(
    loads: list[int], data: st.DataObject, balance: Balance
) -> None:
    """Whatever servers are doing, none is chosen while a better one has room."""
    flags = st.lists(st.booleans(), min_size=len(loads), max_size=len(loads))
    up, ejected = data.draw(flags), data.draw(flags)

    async def choose() -> None:
        loop = Loop(len(loads), balance, Breaker(connections=4, pending=0))
        loop.busy(*loads)
        for pool, one, out in zip(loop.pools, up, ejected, strict=True):
            pool.up = one
            pool.ejected_until = loop.time + 1 if out else 0.0
        index = loop.pools.index(loop.balancer.choose())
        room = [one for one, load in enumerate(loads) if load < 4]
        serving = [one for one in room if up[one] and not ejected[one]]
        best = serving or room
        if best and balance is LEAST:
            assert loads[index] == min(loads[one] for one in best)
        assert index in (best or range(len(loads)))

    asyncio.run(choose())
