"""How many connections there may be: of one listener, and of all of them together."""

import resource
from collections.abc import Callable
from typing import Final

_OWN: Final = 64
"""File descriptors that a process has for itself: files, Redis, its other sockets."""
_BACKENDS: Final = 2048
"""And for backends, but never more than for clients: two servers' usual breakers."""


class Room:
    """The room that all listeners of a process share.

    Args:
        most: connections at a time.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._counts: list[Callable[[], int]] = []
        self._resumes: list[Callable[[], object]] = []

    def join(self, count: Callable[[], int], resume: Callable[[], object]) -> None:
        """Share with a listener.

        Args:
            count: returns how many connections it has.
            resume: called when there is room again that there was not.
        """
        self._counts.append(count)
        self._resumes.append(resume)

    @property
    def is_left(self) -> bool:
        """Whether there is room for one more."""
        return sum(count() for count in self._counts) < self.most

    def left(self) -> None:
        """Note that a connection went."""
        for resume in self._resumes:
            resume()


def descriptors() -> int:
    """Raise the limit of file descriptors as far as it goes, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def connections_for(descriptors: int) -> int:
    """Return how many clients may be connected with so many file descriptors."""
    left = max(2, descriptors - _OWN)
    return left - min(_BACKENDS, left // 2)
