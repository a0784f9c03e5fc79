"""Who was there in the last minutes: subjects, each counted once, soon forgotten."""

from collections.abc import Callable, Sequence
from typing import Any, Final

ACTIVE_MINUTES: Final = 5
MAX_ACTIVE: Final = 1_000_000

Seen = tuple[int, str]
"""A minute since the epoch, and a subject that was first seen in it."""


class People:
    """The distinct subjects of this minute and the four before it.

    Args:
        now: epoch seconds.
        max_active: subjects that are remembered, of all minutes together.
    """

    def __init__(self, now: Callable[[], float], max_active: int = MAX_ACTIVE) -> None:
        self._now = now
        self._max_a_minute = max_active // ACTIVE_MINUTES
        self._minute = 0
        self._active: set[str] = set()
        self._earlier: list[set[str]] = []
        self._fresh: list[Seen] | None = None

    def note(self, subject: str) -> None:
        """Note a subject that is there now."""
        minute = int(self._now() // 60)
        if minute != self._minute:
            self._turn(minute)
        active = self._active
        if subject not in active and len(active) < self._max_a_minute:
            active.add(subject)
            if self._fresh is not None:
                self._fresh.append((minute, subject))

    def _turn(self, minute: int) -> None:
        """Begin a minute. A clock that was put back is believed, and begins none."""
        if minute < self._minute:
            self._minute = minute
            return
        skipped = min(max(0, minute - self._minute - 1), ACTIVE_MINUTES)
        earlier: list[set[str]] = [set() for _ in range(skipped)] + [
            self._active,
            *self._earlier,
        ]
        self._earlier = earlier[: ACTIVE_MINUTES - 1]
        self._active, self._minute = set(), minute

    def active(self) -> int:
        """Return how many subjects there were in this minute and the four before.

        At most ``max_active``: beyond its share of them, a minute counts no more.
        """
        minute = int(self._now() // 60)
        if minute != self._minute:
            self._turn(minute)
        return len(self._active.union(*self._earlier))

    # -- over several processes

    def hand_over(self) -> list[Seen]:
        """Return who was first seen in a minute since the last call.

        The first call hands over nobody, and begins to keep them for the next.
        """
        fresh, self._fresh = self._fresh or [], []
        return fresh

    def take_over(self, seen: Sequence[Any]) -> None:
        """Note those whom another process saw: pairs as of ``hand_over``.

        From JSON they come as lists, which the compiled proxy would not take for Seen.
        """
        now = int(self._now() // 60)
        if now != self._minute:
            self._turn(now)
        minutes = [self._active, *self._earlier]
        for minute, subject in seen:
            # Its clock is this one's; whoever was seen in a minute to come is there.
            age = max(0, now - minute)
            if age < len(minutes) and len(minutes[age]) < self._max_a_minute:
                minutes[age].add(subject)
