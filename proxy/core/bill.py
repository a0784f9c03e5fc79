"""What a request owes its limits once it is over: what could not be known before."""

from proxy.core.bucket import HOLDS
from proxy.core.costs import number_of, tokens_of
from proxy.core.exchange import Owed
from proxy.core.limit import CostOf
from proxy.core.limits import KNOWN_AFTERWARDS, Take
from proxy.core.login import Tries
from proxy.core.message import Body


class Bill(Owed):
    """What is settled after the last byte.

    Attributes:
        holds: to let go of, of whom the request had one.
        costs: what was taken and may have cost something else.
        body: of the request.
        tries: of a request that is a log-in; None for others.
    """

    __slots__ = ("body", "costs", "holds", "tries")

    def __init__(self, takes: list[Take], body: Body) -> None:
        super().__init__()
        self.holds = [take for take in takes if take.limit.kind == HOLDS]
        self.costs = [
            take for take in takes if take.quota.limit.cost.of in KNOWN_AFTERWARDS
        ]
        self.body = body
        self.tries: Tries | None = None

    def settlements(self, status: int, *, sent: bool) -> list[Take]:
        """Return what is to be settled, each with what it costs beyond what it took.

        Args:
            status: of the answer; 0 where the client left before there was one.
            sent: whether the backend got the request.
        """
        settled = [take.costing(-1) for take in self.holds]
        for take in self.costs:
            more = self._cost(take) - abs(take.cost)
            if more:
                settled.append(take.costing(more))
        if self.tries is not None:
            settled += self.tries.settlements(status, sent=sent)
        return settled

    def _cost(self, take: Take) -> int:
        """Return what it cost after all; without an answer, what was taken."""
        cost = take.quota.limit.cost
        if cost.of is CostOf.BODY:
            return min(tokens_of(cost, self.body.received), take.limit.burst)
        wanted = cost.name.encode("ascii")
        for lower, _, value in self.headers or ():
            if lower == wanted:
                return number_of(value, cost.most) or cost.tokens
        return abs(take.cost)
