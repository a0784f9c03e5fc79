"""How the limits of two policies differ, on requests that both allow."""

import dataclasses
from fractions import Fraction

from proxy.core.bucket import RateLimit
from proxy.core.limit import Limit, OnStoreFailure
from proxy.core.policy import ANYONE
from proxy.core.policy_limits import UNLIMITED
from proxy.core.workbench.decision import Decision
from proxy.core.workbench.diff_changes import Area, Changes, Direction
from proxy.core.workbench.diff_requests import Asked, Meeting
from proxy.core.workbench.wording import joined, limit_text

_LOOSER = (OnStoreFailure.DENY, OnStoreFailure.LOCAL, OnStoreFailure.ALLOW)


@dataclasses.dataclass(frozen=True, slots=True)
class _Quota:
    """A limit as somebody has it; ``rate`` None is unlimited."""

    limit: Limit | None
    rate: RateLimit | None

    @property
    def text(self) -> str:
        """All that matters of it: two with one text are the same."""
        return limit_text(self.limit, self.rate, " ") if self.limit else UNLIMITED


class LimitChanges:
    """Compares limits meeting by meeting, and at last who shares a bucket."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._became: dict[str, dict[str, None]] = {}

    def compare(self, meeting: Meeting, asked: Asked) -> None:
        """Note the limits that were loosened or tightened for somebody."""
        if asked.old.refused or asked.new.refused:
            return
        before, after = _quotas(asked.old), _quotas(asked.new)
        renamed = _renamed(before, after)
        for name, was in before.items():
            called = name if name in after else renamed.get(name)
            now = after.get(called) if called else None
            if called and was.rate:
                self._became.setdefault(name, {})[called] = None
            self._add(meeting, asked.who, name, was, now or _Quota(None, None))
        for name, now in after.items():
            if name not in before and name not in renamed.values():
                self._add(meeting, asked.who, name, _Quota(None, None), now)

    def _add(
        self, meeting: Meeting, who: str, name: str, was: _Quota, now: _Quota
    ) -> None:
        if was.text == now.text or not (was.rate or now.rate):
            return
        direction = _direction(was, now)
        verb = {
            Direction.OPENS: "loosened",
            Direction.CLOSES: "tightened",
            Direction.CHANGES: "changed",
        }[direction]
        for_whom = "" if who == ANYONE else f" for {who}"
        text = f"{name}{for_whom} is {verb}: {was.text} -> {now.text}"
        self._changes.add(Area.LIMITS, direction, text, meeting.requests)

    def finish(self) -> list[str]:
        """Note split and merged buckets; return limits that were only renamed."""
        came_of: dict[str, dict[str, None]] = {}
        for name, names in self._became.items():
            for new in names:
                came_of.setdefault(new, {})[name] = None
            if len(names) > 1:
                text = f"the bucket of {name} is split: {joined(names)} have their own"
                self._changes.add(Area.LIMITS, Direction.OPENS, text)
        for new, names in came_of.items():
            if len(names) > 1:
                text = f"{joined(names)} share one bucket: {new}"
                self._changes.add(Area.LIMITS, Direction.CLOSES, text)
        return [
            f"the limit {name} is called {new}"
            for name, names in self._became.items()
            for new in names
            if new != name and len(names) == len(came_of[new]) == 1
        ]


def _quotas(decision: Decision) -> dict[str, _Quota]:
    taken = {take.id: _Quota(take.quota.limit, take.limit) for take in decision.takes}
    return taken | {limit.id: _Quota(None, None) for limit in decision.unlimited}


def _renamed(before: dict[str, _Quota], after: dict[str, _Quota]) -> dict[str, str]:
    """Return old name to new for limits that have another name and the same rate."""
    left = [name for name in after if name not in before]
    renamed: dict[str, str] = {}
    for name, quota in before.items():
        same = next((one for one in left if after[one].text == quota.text), None)
        if name not in after and same is not None:
            renamed[name] = same
            left.remove(same)
    return renamed


def _direction(was: _Quota, now: _Quota) -> Direction:
    before, after = was.limit, now.limit
    if now.rate is None or after is None:
        return Direction.OPENS
    if was.rate is None or before is None:
        return Direction.CLOSES
    if not _comparable(before, after) or was.rate.kind != now.rate.kind:
        return Direction.CHANGES
    lost = _LOOSER.index(after.on_store_failure)
    looser: tuple[Fraction | int, ...] = (
        _speed(now.rate) - _speed(was.rate),
        now.rate.burst - was.rate.burst,
        before.cost.tokens - after.cost.tokens,
        lost - _LOOSER.index(before.on_store_failure),
        after.shadow - before.shadow,
    )
    if min(looser) >= 0:
        return Direction.OPENS
    return Direction.CLOSES if max(looser) <= 0 else Direction.CHANGES


def _comparable(before: Limit, after: Limit) -> bool:
    """Say whether two limits count the same things in the same way."""
    return (
        before.per_text == after.per_text
        and before.precision is after.precision
        and before.zone == after.zone
        and dataclasses.replace(before.cost, tokens=1)
        == dataclasses.replace(after.cost, tokens=1)
    )


def _speed(rate: RateLimit) -> Fraction:
    # Of what is counted at a time, the number is all there is.
    return Fraction(rate.count, rate.period_us or 1)
