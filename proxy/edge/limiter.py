"""What is left of the limits of a rule: for operators, and as Python calls."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence

from proxy.core.bucket import BACKOFF, HOLDS, MICROSECONDS
from proxy.core.errors import Refused
from proxy.core.limit_status import (
    LimitStatus,
    Look,
    asking_as,
    login_looks,
    looks_for,
    status_of,
)
from proxy.core.limits import Take
from proxy.core.policy import Policy, Rule
from proxy.edge.bucket_store import BucketStore

_METHODS = ("POST", "GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
"""What a path is tried with when nobody says the method."""


@dataclasses.dataclass(frozen=True, slots=True)
class RuleStatus:
    """What is left of the limits of one rule.

    Attributes:
        rule: the rule's id.
        limits: each limit, once per rate where roles differ.
    """

    rule: str
    limits: tuple[LimitStatus, ...]

    @property
    def remaining(self) -> int | None:
        """Tokens left in the most restrictive limit; None when nothing limits."""
        left = [one.remaining for one in self.limits if one.remaining is not None]
        return min(left, default=None)


class Limiter:
    """Looks at buckets without taking from them, and fills them.

    Args:
        store: where the buckets are.
        policy: returns the policy in force.
        now_us: the clock, in epoch microseconds.
        secret: returns what hashes whatever may be a secret.
    """

    def __init__(
        self,
        store: BucketStore,
        policy: Callable[[], Policy],
        *,
        now_us: Callable[[], int],
        secret: Callable[[], bytes],
    ) -> None:
        self._store = store
        self._policy = policy
        self._now_us = now_us
        self._secret = secret

    async def get_limit_status(
        self,
        who: str,
        rule: str,
        *,
        method: str = "",
        role: str | None = None,
        given: Mapping[str, str] | None = None,
    ) -> RuleStatus:
        """Return what ``who`` has left of the limits of a rule.

        Args:
            who: the subject, or the client's address where a limit is per client.
            rule: the rule's id, its path as the policy writes it, or a request's path.
            method: of the request, where a path has several rules; "" for any.
            role: look at this role's rates only; None looks at every rate.
            given: what limits count by beside that: ``tenant``, ``path.id`` or
                ``header.x-version`` to their values; what is left out counts as not
                there.

        Raises:
            KeyError: the policy has no such rule, or one of its limits no rate for
                the role; its argument is a sentence.

        Example:
            ``status = await limiter.get_limit_status("user_123", "/api/auth/login")``,
            then ``status.remaining``.
        """
        found, looks = self._looks(who, rule, method, role, given)
        takes = [take.costing(0) for _, _, take in looks if take is not None]
        grants = iter(await self._store.take(takes))
        statuses = [
            status_of(look, None if look[2] is None else next(grants)) for look in looks
        ]
        return RuleStatus(found.id, tuple(statuses))

    def found(
        self,
        who: str,
        rule: str,
        *,
        role: str | None = None,
        limit: str | None = None,
        given: Mapping[str, str] | None = None,
    ) -> list[Take]:
        """Return the buckets of ``who``, to ``reset`` them or to ``lend`` to them.

        Args:
            who: as ``get_limit_status``; and so ``rule``, ``role`` and ``given``.
            rule: see there.
            role: see there.
            limit: the name of one limit; None for all of the rule.
            given: see there.

        Raises:
            KeyError: there is no such rule, rate or limit, or none that is limited;
                its argument is a sentence.
        """
        _, looks = self._looks(who, rule, "", role, given)
        if limit is not None and limit not in {one.id for one, _, _ in looks}:
            raise KeyError("The rule has no such limit")
        takes = [
            take
            for one, _, take in looks
            if take is not None and limit in (None, one.id)
        ]
        if not takes:
            raise KeyError("Nobody is limited there")
        return takes

    def reset(self, takes: Sequence[Take]) -> None:
        """Make buckets full again, as if nobody had ever asked."""
        self._store.settle([take.costing(-take.limit.burst) for take in takes])

    def lend(self, takes: Sequence[Take], tokens: int, seconds: float) -> None:
        """Let buckets hold more for a while, and fill that in at once.

        Args:
            takes: the buckets.
            tokens: how many more; at least 1.
            seconds: for how long.

        Raises:
            KeyError: one of them is of requests at a time; its argument is a sentence.
        """
        if any(take.limit.kind in (HOLDS, BACKOFF) for take in takes):
            raise KeyError("Only of rates and quotas somebody can be lent more")
        until_us = self._now_us() + int(seconds * MICROSECONDS)
        for take in takes:
            self._store.lend(take.costing(tokens), until_us)

    def _looks(
        self,
        who: str,
        rule: str,
        method: str,
        role: str | None,
        given: Mapping[str, str] | None,
    ) -> tuple[Rule, list[Look]]:
        found = self._rule(rule, method)
        if role is not None and not all(
            {role, None} & limit.rates.keys() for limit in found.limits
        ):
            raise KeyError("A limit of this rule has no rate for this role")
        asking = asking_as(
            who,
            role=role,
            rule=found,
            given=given or {},
            now_us=self._now_us(),
            secret=self._secret(),
        )
        looks = looks_for(found.limits, role, asking)
        if found.login is not None:
            looks += login_looks(found.login, who, asking.secret)
        return found, looks

    def _rule(self, name: str, method: str) -> Rule:
        policy = self._policy()
        for rule in policy.rules:
            if name == rule.id:
                return rule
            written = name == rule.pattern.text
            if written and (not method or not rule.methods or method in rule.methods):
                return rule
        candidates = (method,) if method else _METHODS
        for router, candidate in itertools.product(policy.routers.values(), candidates):
            try:
                return router.match(candidate, name).rule
            except Refused:
                continue
        raise KeyError("The policy has no such rule")
