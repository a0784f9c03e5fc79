"""What is to say about two policies: changes in meaning, by what they are about."""

import dataclasses
import enum
from collections.abc import Iterable

from proxy.core.workbench.diff_requests import Request


class Area(enum.Enum):
    """What a change is about, in the order of importance."""

    ACCESS = "access"
    PLAINTEXT = "plaintext"
    LIMITS = "limits"
    ISSUERS = "issuers"
    BACKENDS = "backends"
    RULES = "rules"


class Direction(enum.Enum):
    """Whether a change lets more happen, less, or something else."""

    OPENS = "opens"
    CLOSES = "closes"
    CHANGES = "changes"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference in meaning.

    Attributes:
        text: what is different, in words.
        requests: where; empty when it is not about requests.
    """

    area: Area
    direction: Direction
    text: str
    requests: tuple[Request, ...] = ()


class Changes:
    """Collects changes, those that say the same laid together."""

    def __init__(self) -> None:
        self._requests: dict[tuple[Area, Direction, str], dict[Request, None]] = {}

    def add(
        self,
        area: Area,
        direction: Direction,
        text: str,
        requests: Iterable[Request] = (),
    ) -> None:
        """Add a change, or more requests of one that is known."""
        known = self._requests.setdefault((area, direction, text), {})
        known.update(dict.fromkeys(requests))

    def all(self) -> tuple[Change, ...]:
        """Return every change, by area and direction."""
        areas, directions = list(Area), list(Direction)
        ordered = sorted(
            self._requests.items(),
            key=lambda item: (areas.index(item[0][0]), directions.index(item[0][1])),
        )
        return tuple(
            Change(area=area, direction=way, text=text, requests=tuple(requests))
            for (area, way, text), requests in ordered
        )
