"""Who was refused, and until when another refusal is certain.

A bucket that had not enough has not enough until it has refilled that far, whoever else
takes from it. So whoever asks again before need not ask the store, and a client that
hammers costs no round trip. An operator may give back tokens meanwhile, so it is not
believed for long.

Only of buckets and windows that nothing is given back to by requests.
"""

from collections.abc import Sequence

from proxy.core.bucket import BUCKET, WINDOW, Grant
from proxy.core.limit import CostOf
from proxy.core.limits import Take

MAX_DENIED = 65_536
"""Buckets that are remembered, at a hundred bytes each."""


class Denials:
    """Refusals that are certain to be repeated."""

    def __init__(self) -> None:
        # (believed until, cost, when it has enough, when it is full, what was left)
        self._until: dict[str, tuple[float, int, float, float, int]] = {}

    def __len__(self) -> int:
        """How many buckets are remembered."""
        return len(self._until)

    def note(
        self,
        takes: Sequence[Take],
        grants: Sequence[Grant],
        now: float,
        seconds: float,
    ) -> None:
        """Remember what refused.

        Args:
            takes: what was asked for.
            grants: the store's answer, in the same order.
            now: monotonic seconds.
            seconds: for how long to believe it.
        """
        for take, grant in zip(takes, grants, strict=True):
            if not grant.allowed and not grant.lost and _stays(take):
                if len(self._until) >= MAX_DENIED:
                    self._make_room(now)
                enough_at = now + grant.retry_after
                self._until[take.key] = (
                    min(enough_at, now + seconds),
                    take.cost,
                    enough_at,
                    now + grant.reset_after,
                    grant.remaining,
                )

    def _make_room(self, now: float) -> None:
        self._until = {key: one for key, one in self._until.items() if one[0] > now}
        if len(self._until) >= MAX_DENIED:
            self._until.clear()

    def forget(self, key: str) -> None:
        """Ask the store about this bucket again."""
        self._until.pop(key, None)

    def refusing(
        self, takes: Sequence[Take], now: float
    ) -> tuple[list[Take], list[Grant]]:
        """Return what is certain to refuse a request, and what it would say."""
        certain: list[Take] = []
        grants: list[Grant] = []
        for take in takes:
            one = self._until.get(take.key)
            if one is None:
                continue
            until, cost, enough_at, full_at, remaining = one
            if now >= until:
                del self._until[take.key]
            elif take.cost >= cost:
                certain.append(take)
                grants.append(Grant(False, remaining, enough_at - now, full_at - now))
        return certain, grants


def _stays(take: Take) -> bool:
    """Say whether nothing but time gives this bucket tokens."""
    return (
        take.limit.kind in (BUCKET, WINDOW)
        and take.cost > 0
        and take.quota.limit.cost.of is not CostOf.RESPONSE_HEADER
    )
