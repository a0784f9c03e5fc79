"""One path for every way in which a set of patterns can be met.

Two policies cannot be compared on every path there is. But patterns tell paths apart by
a few words only: a segment is one of the literals that some pattern has there, or it is
any other. So all paths fall into classes, and one of each class stands for the rest.

It is the subset construction of automata, a segment for a symbol: a state is the set of
patterns that a beginning of a path can still meet. What ``routing`` makes of a path is
asked of ``routing``; here is only what is worth asking.
"""

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from proxy.core.routing import Pattern

MAX_STATES = 100_000
"""More ways to overlap than any policy has that people can read."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A path that stands for a class of paths.

    Attributes:
        path: to be matched.
        text: for people, such as ``/api/users/{id}``.
        patterns: those that match it.
    """

    path: str
    text: str
    patterns: tuple[Pattern, ...]


def representatives(patterns: Iterable[Pattern]) -> Iterator[Sample]:
    """Yield a path for each class of paths that some pattern matches.

    Args:
        patterns: in any order; equal shapes are taken for one.

    Raises:
        ValueError: the patterns overlap in more ways than anybody could review.
    """
    shapes = {(one.segments, one.rest): one for one in reversed(tuple(patterns))}
    yield from _Search(tuple(reversed(shapes.values()))).samples()


class _State(NamedTuple):
    """A beginning of a path: the patterns it can still meet, and how it goes."""

    alive: tuple[int, ...]
    segments: tuple[str, ...]
    words: tuple[str, ...]


class _Search:
    """Walks all states, the shorter paths first."""

    def __init__(self, patterns: tuple[Pattern, ...]) -> None:
        self._patterns = patterns
        literals = {segment for one in patterns for segment in one.segments}
        self._filler = "any"
        while self._filler in literals:
            self._filler += "-other"

    def samples(self) -> Iterator[Sample]:
        """Yield a sample of every state that some pattern ends in."""
        waiting = deque([_State(tuple(range(len(self._patterns))), (), ())])
        seen = {(0, waiting[0].alive)}
        while waiting:
            state = waiting.popleft()
            met = tuple(one for one in self._alive(state) if _ends(one, state))
            if met:
                path, text = "/".join(state.segments), "/".join(state.words)
                yield Sample(path=f"/{path}", text=f"/{text}", patterns=met)
            for following in self._following(state):
                key = (len(following.segments), following.alive)
                if key not in seen:
                    seen.add(key)
                    waiting.append(following)
            if len(seen) > MAX_STATES:
                raise ValueError("the paths of the rules overlap in too many ways")

    def _alive(self, state: _State) -> Iterator[Pattern]:
        return (self._patterns[index] for index in state.alive)

    def _following(self, state: _State) -> Iterator[_State]:
        """Yield a state for every kind of segment that can come next."""
        depth = len(state.segments)
        if depth and not state.segments[-1]:
            return  # nothing follows the slash at the end of a path
        if all(one.rest and _ends(one, state) for one in self._alive(state)):
            return  # however long the path gets, it meets these and no other
        literals: dict[str, list[int]] = {}
        named: list[int] = []
        resting: list[int] = []
        for index in state.alive:
            one = self._patterns[index]
            if depth >= len(one.segments):
                resting += [index] if one.rest else []
            elif (segment := one.segments[depth]) is None:
                named.append(index)
            else:
                literals.setdefault(segment, []).append(index)
        for literal, exact in literals.items():
            # No parameter stands for nothing, a rest does.
            others = [*named, *resting] if literal else resting
            yield _next(state, [*exact, *others], literal, literal)
        if named or resting:
            word = self._word(depth, named, resting)
            yield _next(state, [*named, *resting], self._filler, word)
        if named and resting and "" not in literals:
            yield _next(state, resting, "", "")

    def _word(self, depth: int, named: list[int], resting: list[int]) -> str:
        """Return how people call any other segment: as the first pattern does."""
        if not named:
            return f"{{{self._patterns[resting[0]].params[-1]}...}}"
        pattern = self._patterns[named[0]]
        return f"{{{pattern.params[pattern.segments[:depth].count(None)]}}}"


def _ends(pattern: Pattern, state: _State) -> bool:
    """Say whether a pattern that is alive is met."""
    depth = len(state.segments)
    if pattern.rest:
        return depth > len(pattern.segments)
    return depth == len(pattern.segments)


def _next(state: _State, alive: list[int], segment: str, word: str) -> _State:
    # In one order, so that equal states are seen to be equal.
    alive.sort()
    return _State(tuple(alive), (*state.segments, segment), (*state.words, word))
