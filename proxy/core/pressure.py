"""Who is near a limit or over it: a table of those who were most often, lately.

It has room for so many; when it is full, those who came up least often go. So whoever
hammers is in it, however many others there are, and it costs the same.
"""

import dataclasses
from typing import Final

from proxy.core.bucket import Grant
from proxy.core.limits import Take

NEAR: Final = "near"
OVER: Final = "over"
SHADOW: Final = "shadow"
"""How a limit pressed: few tokens were left; it refused; it would have refused."""

MAX_PRESSED: Final = 1000
FORGET_SECONDS: Final = 600.0


class Pressed:
    """One owner of one limit.

    Attributes:
        take: the bucket.
        role: the role that acted last.
        near: how often few tokens were left.
        over: how often it refused, or would have in shadow mode.
        remaining: whole tokens left when last seen.
        seen: monotonic seconds when that was.
    """

    __slots__ = ("near", "over", "remaining", "role", "seen", "take")

    def __init__(self, take: Take) -> None:
        self.take = take
        self.role = ""
        self.near = 0
        self.over = 0
        self.remaining = 0
        self.seen = 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PressedRow:
    """One row of what operators see, the most pressed first.

    Attributes:
        owner: whose bucket, as it stands in its key: ``s:user_123``.
        limit: the limit's name.
        role: the role that acted last.
        near: how often few tokens were left.
        over: how often it refused, or would have in shadow mode.
        remaining: whole tokens left when last seen.
        burst: tokens in the full bucket.
        ago: seconds since it was last seen.
    """

    owner: str
    limit: str
    role: str
    near: int
    over: int
    remaining: int
    burst: int
    ago: float


class Pressure:
    """The table; ``room`` is how many owners it has at the most."""

    def __init__(self, room: int = MAX_PRESSED) -> None:
        self._room = room
        self._pressed: dict[str, Pressed] = {}

    def note(
        self, take: Take, grant: Grant, outcome: str, role: str, now: float
    ) -> None:
        """Note that a limit pressed, at ``now`` in monotonic seconds."""
        pressed = self._pressed.get(take.key)
        if pressed is None:
            if len(self._pressed) >= 2 * self._room:
                self._trim(now)
            pressed = self._pressed[take.key] = Pressed(take)
        if outcome == NEAR:
            pressed.near += 1
        else:
            pressed.over += 1
        pressed.role = role
        pressed.remaining = grant.remaining
        pressed.seen = now

    def _trim(self, now: float) -> None:
        """Forget the half that came up least often, and those of long ago."""
        kept = sorted(self._lately(now), key=_rank)[: self._room]
        self._pressed = {one.take.key: one for one in kept}

    def _lately(self, now: float) -> list[Pressed]:
        return [
            one for one in self._pressed.values() if now - one.seen < FORGET_SECONDS
        ]

    def forget(self, key: str) -> None:
        """Forget one owner of one limit."""
        self._pressed.pop(key, None)

    def rows(self, now: float, most: int) -> list[PressedRow]:
        """Return the most pressed of the last ten minutes, at most so many."""
        return [
            PressedRow(
                owner=one.take.owner,
                limit=one.take.id,
                role=one.role,
                near=one.near,
                over=one.over,
                remaining=one.remaining,
                burst=one.take.limit.burst,
                ago=round(now - one.seen, 1),
            )
            for one in sorted(self._lately(now), key=_rank)[:most]
        ]


def _rank(one: Pressed) -> tuple[int, int, str]:
    return -one.over, -one.near, one.take.key
