"""Method and path to exactly one rule.

Rules of this file:

1. The canonical path (``paths``) is matched, and that path is forwarded.
2. The more specific path wins, segment by segment from the left: literal, ``{name}``,
   ``{name...}``. The order of the rules never matters.
3. A path that can be read in two ways is refused unless its rule tolerates that.

Queries and hosts are none of this file's business.
"""

import dataclasses
import itertools
import re
from collections.abc import Iterable
from typing import Final, Generic, NoReturn, Protocol, TypeVar
from urllib.parse import quote

from proxy.core.errors import Refused
from proxy.core.paths import (
    INTOLERABLE,
    Ambiguity,
    canonicalise,
    comparable,
    is_plain,
)
from proxy.core.reasons import Reason

__all__ = ["MAX_DEPTH", "Ambiguity", "Match", "Pattern", "Routable", "Router"]

MAX_DEPTH: Final = 32
"""The most segments a pattern may have; no match looks deeper into a path."""


@dataclasses.dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled path pattern.

    ``{name}`` is one segment that is not empty. ``{name...}`` is all that follows a
    slash, be it nothing: ``/files/{path...}`` matches ``/files/`` and ``/files/a/b``,
    not ``/files``. A trailing slash is part of a path: ``/a/`` is not ``/a``.

    Attributes:
        text: as written, such as ``/api/users/{id}`` or ``/files/{path...}``.
        segments: literal segments as they are compared, "" last for a trailing slash;
            a parameter is None.
        params: the names of the parameters in order, the rest parameter last.
        rest: whether the last parameter is ``{name...}`` (not in ``segments``).
    """

    text: str
    segments: tuple[str | None, ...]
    params: tuple[str, ...]
    rest: bool

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Compile ``text``; ValueError with a sentence for people.

        Literals may be written in Unicode and are compared percent-encoded.
        """
        if not text.startswith("/"):
            raise ValueError(f"the path {text!r} does not start with '/'")
        for sign, name in (("?", "query"), ("#", "fragment")):
            if sign in text:
                raise ValueError(f"a {name} ({sign!r}) is not part of a path")
        written = text[1:].split("/")
        if len(written) > MAX_DEPTH:
            raise ValueError(f"the path has more than {MAX_DEPTH} segments")
        if "" in written[:-1]:
            raise ValueError(f"the path {text!r} has an empty segment ('//')")
        names = tuple(filter(None, map(_parameter, written)))
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the parameter {name!r} occurs twice")
        if any(segment.endswith("...}") for segment in written[:-1]):
            raise ValueError("'{name...}' is only possible as the last segment")
        rest = written[-1].endswith("...}")
        fixed = written[:-1] if rest else written
        segments = tuple(None if _parameter(one) else _literal(one) for one in fixed)
        return cls(text=text, segments=segments, params=names, rest=rest)


def _parameter(segment: str) -> str | None:
    """Return the name of a parameter, or None for a literal."""
    if not re.search(r"[{}]", segment):
        return None
    found = re.fullmatch(r"\{([A-Za-z_][A-Za-z0-9_]*)(?:\.\.\.)?\}", segment)
    if not found:
        raise ValueError(
            f"{segment!r} is not a parameter: write '{{name}}' or '{{name...}}' as a "
            "whole segment, the name of letters, digits and '_'"
        )
    return found[1]


def _literal(segment: str) -> str:
    if segment in {"*", "**"}:
        raise ValueError(
            f"{segment!r} is no wildcard: write '{{name}}' or '{{name...}}'"
        )
    ascii_only = "".join(one if one.isascii() else quote(one) for one in segment)
    canonical, found = canonicalise("/" + ascii_only)
    if Ambiguity.DOT_SEGMENT in found:
        raise ValueError(f"{segment!r} is a dot segment, which no request may have")
    if Ambiguity.CONTROL in found:
        raise ValueError(f"{segment!r} has a character that no path may hold")
    return comparable(canonical[1:])


class Routable(Protocol):
    """What the router needs to know of a rule."""

    @property
    def id(self) -> str:
        """The name, for messages."""

    @property
    def methods(self) -> frozenset[str]:
        """Upper-case methods, or empty for every method."""

    @property
    def pattern(self) -> Pattern:
        """The path."""

    @property
    def tolerate(self) -> frozenset[Ambiguity]:
        """What the rule lets pass; intolerable ones in it have no effect."""


R = TypeVar("R", bound=Routable)

_ANY: Final = "*"
NEVER_MEANT: Final = frozenset(("CONNECT", "TRACE"))
"""What ``*`` does not stand for: a tunnel, and an echo of what the proxy added."""

_NOTHING: Final[frozenset[Ambiguity]] = frozenset()


class _Route(Generic[R]):
    """A rule, and where its parameters are among a path's segments."""

    __slots__ = ("params", "rest", "rule")

    def __init__(
        self, rule: R, params: tuple[tuple[str, int], ...], rest: tuple[str, int] | None
    ) -> None:
        self.rule = rule
        self.params = params
        self.rest = rest


class Match(Generic[R]):
    """One rule, and the canonical path that is forwarded.

    Attributes:
        rule: the rule.
        path: the path.
    """

    __slots__ = ("_route", "path", "rule")

    def __init__(self, route: _Route[R], path: str) -> None:
        self.rule = route.rule
        self.path = path
        self._route = route

    @property
    def params(self) -> dict[str, str]:
        """The parameters: parts of the path, so still percent-encoded where it is."""
        route = self._route
        segments = self.path.split("/")
        params = {name: segments[index] for name, index in route.params}
        if route.rest is not None:
            name, index = route.rest
            params[name] = "/".join(segments[index:])
        return params


class _Node(Generic[R]):
    """A place in the tree of segments, and the rules that end there by method."""

    __slots__ = ("literals", "parameter", "rest", "routes")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[R]] = {}
        self.parameter: _Node[R] | None = None
        self.rest: _Node[R] | None = None
        self.routes: dict[str, _Route[R]] = {}


class Router(Generic[R]):
    """All rules, compiled to a tree of segments.

    Among the rules whose path matches, the most specific one that has the method is
    the match. On paths of equal shape an explicit method beats ``*`` (no methods). A
    rule with GET has HEAD too, unless another one of that shape names HEAD.

    Args:
        rules: in any order.

    Raises:
        ValueError: when two rules tie (see ``ties``).
    """

    def __init__(self, rules: Iterable[R]) -> None:
        rules = tuple(rules)
        if tied := self.ties(rules):
            one, other = tied[0]
            raise ValueError(
                f"the rules {one.id!r} and {other.id!r} match the same requests "
                f"equally well ({one.pattern.text})"
            )
        self._root: _Node[R] = _Node()
        # A path without parameters has its match ready made, if it is unambiguous.
        self._static: dict[str, dict[str, Match[R]]] = {}
        for rule in rules:
            self._add(rule)
        self._methods = {"HEAD"}.union(*(rule.methods for rule in rules))
        # One more than the deepest pattern, so that a longer path looks longer.
        self._splits = 1 + max((len(one.pattern.segments) for one in rules), default=0)

    @staticmethod
    def ties(rules: Iterable[R]) -> list[tuple[R, R]]:
        """Return every pair of rules that match the same requests equally well."""
        rivals: dict[tuple[object, ...], list[int]] = {}
        rules = tuple(rules)
        for index, rule in enumerate(rules):
            for method in rule.methods or (_ANY,):
                shape = (rule.pattern.segments, rule.pattern.rest, method)
                rivals.setdefault(shape, []).append(index)
        pairs = {
            pair
            for group in rivals.values()
            for pair in itertools.combinations(group, 2)
        }
        return [(rules[one], rules[other]) for one, other in sorted(pairs)]

    def match(self, method: str, path: str) -> Match[R]:
        """Return the one rule for a request.

        Args:
            method: as received; methods are case-sensitive (RFC 9110, 9.1).
            path: as received, without its query; one character per byte.

        Raises:
            Refused: MALFORMED when the path is not one, PATH_AMBIGUOUS when it can be
                read in two ways and the rule does not tolerate it, NO_RULE, or
                METHOD_NOT_ALLOWED with ``Allow``.
        """
        if (ready := self._static.get(path)) and (
            match := ready.get(method) or ready.get(_any(method))
        ):
            return match
        if is_plain(path):
            ambiguities = _NOTHING
            compared = path.split("/", self._splits)
        else:
            path, ambiguities = _admit(path)
            compared = comparable(path).split("/", self._splits)
        route = self._find(method, compared)
        if route is None:
            self._refuse(compared, ambiguities)
        if ambiguities and not ambiguities <= route.rule.tolerate:
            _refuse_ambiguous(ambiguities - route.rule.tolerate)
        return Match(route, path)

    def _find(self, method: str, segments: list[str]) -> _Route[R] | None:
        """Walk the tree, most specific branch first; no node is seen twice."""
        pending: list[tuple[_Node[R], int]] = []
        node, depth, end = self._root, 1, len(segments)
        while True:
            if depth < end:
                segment = segments[depth]
                depth += 1
                if node.rest:
                    pending.append((node.rest, end))
                literal = node.literals.get(segment)
                parameter = node.parameter if segment else None
                if literal and parameter:
                    pending.append((parameter, depth))
                if branch := literal or parameter:
                    node = branch
                    continue
            elif route := node.routes.get(method) or node.routes.get(_any(method)):
                return route
            if not pending:
                return None
            node, depth = pending.pop()

    def _refuse(
        self, segments: list[str], ambiguities: frozenset[Ambiguity]
    ) -> NoReturn:
        if ambiguities:
            _refuse_ambiguous(ambiguities)
        allowed = sorted(one for one in self._methods if self._find(one, segments))
        if allowed:
            allow = (("Allow", ", ".join(allowed)),)
            raise Refused(Reason.METHOD_NOT_ALLOWED, headers=allow)
        raise Refused(Reason.NO_RULE)

    def _add(self, rule: R) -> None:
        pattern = rule.pattern
        node = self._root
        for segment in pattern.segments:
            if segment is None:
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.literals.setdefault(segment, _Node())
        if pattern.rest:
            node.rest = node.rest or _Node()
            node = node.rest
        # The first segment of "/a" split at slashes is what precedes the slash: "".
        places = [n for n, one in enumerate(pattern.segments, start=1) if one is None]
        rest = (pattern.params[-1], len(pattern.segments) + 1) if pattern.rest else None
        params = tuple(zip(pattern.params, places, strict=False))
        route = _Route(rule, params, rest)
        _file_by_method(node.routes, rule, route)
        path = "/" + "/".join(one or "" for one in pattern.segments)
        if not pattern.params and not canonicalise(path)[1]:
            match = Match(route, path)
            _file_by_method(self._static.setdefault(path, {}), rule, match)


V = TypeVar("V")


def _any(method: str) -> str:
    """Return what stands for ``method`` beside itself; "" for nothing."""
    return "" if method in NEVER_MEANT else _ANY


def _file_by_method(table: dict[str, V], rule: Routable, value: V) -> None:
    table.update(dict.fromkeys(rule.methods or (_ANY,), value))
    if "GET" in rule.methods:
        table.setdefault("HEAD", value)


def _admit(path: str) -> tuple[str, frozenset[Ambiguity]]:
    """Return what ``canonicalise`` does, or refuse what no rule can tolerate."""
    if not path.startswith("/"):
        raise Refused(Reason.MALFORMED, "The request target is not a path.")
    path, ambiguities = canonicalise(path)
    if never := ambiguities & INTOLERABLE:
        _refuse_ambiguous(never)
    return path, ambiguities


def _refuse_ambiguous(ambiguities: frozenset[Ambiguity]) -> NoReturn:
    """Refuse, naming the first of ``ambiguities`` in the order of the enumeration."""
    word = next(one.value for one in Ambiguity if one in ambiguities)
    raise Refused(Reason.PATH_AMBIGUOUS, f"Found in the path: {word}.")
