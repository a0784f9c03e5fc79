"""What is left of the limits of a rule: for operators, and as a Python call."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

from proxy.core.bucket import Grant, RateLimit
from proxy.core.limits import LimitStatus, Take, bucket_key
from proxy.core.policy import Limit, Policy, Rule


class BucketStore(Protocol):
    """Where the buckets are."""

    async def take(self, takes: Sequence[Take], cost: int = 1) -> list[Grant]:
        """Take from all buckets or from none; a cost of 0 only looks."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class RuleStatus:
    """What is left of the limits of one rule.

    Attributes:
        rule: the rule's id.
        limits: each limit, once per distinct rate where roles differ.
    """

    rule: str
    limits: tuple[LimitStatus, ...]

    @property
    def remaining(self) -> int | None:
        """Tokens left in the most restrictive limit; None when nothing limits."""
        left = [one.remaining for one in self.limits if one.remaining is not None]
        return min(left, default=None)


class Limiter:
    """Looks at buckets without taking from them.

    Args:
        store: where the buckets are.
        policy: returns the policy in force.
    """

    def __init__(self, store: BucketStore, policy: Callable[[], Policy]) -> None:
        self._store = store
        self._policy = policy

    async def get_limit_status(
        self, who: str, rule: str, *, role: str | None = None
    ) -> RuleStatus:
        """Return what ``who`` has left of the limits of a rule.

        Args:
            who: the subject, or the client's address where a limit is per client.
            rule: the rule's id, or its path as the policy writes it.
            role: look at this role's rates only; None looks at every rate.

        Raises:
            KeyError: the policy has no such rule.

        Example:
            ``status = await limiter.get_limit_status("user_123", "/api/auth/login")``
        """
        found = self._rule(rule)
        statuses = [
            await self._status(limit, name, rate, who)
            for limit in found.limits
            for name, rate in _rates(limit, role)
        ]
        return RuleStatus(found.id, tuple(statuses))

    async def _status(
        self, limit: Limit, role: str | None, rate: RateLimit | None, who: str
    ) -> LimitStatus:
        burst, remaining, reset_after = None, None, 0.0
        if rate is not None:
            take = Take(bucket_key(limit, rate, role, who), rate, limit.id)
            [grant] = await self._store.take([take], 0)
            burst, remaining = rate.burst, grant.remaining
            reset_after = grant.reset_after
        return LimitStatus(
            id=limit.id,
            per=limit.per.value,
            role=role,
            burst=burst,
            remaining=remaining,
            reset_after=reset_after,
        )

    def _rule(self, name: str) -> Rule:
        for rule in self._policy().rules:
            if name in (rule.id, rule.pattern.text):
                return rule
        raise KeyError(name)


def _rates(limit: Limit, role: str | None) -> list[tuple[str | None, RateLimit | None]]:
    if role is None:
        return list(limit.rates.items())
    own = role if role in limit.rates else None
    return [(own, limit.rates[own])] if own in limit.rates else []
