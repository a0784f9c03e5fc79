"""Method and path to exactly one rule.

Rules of this file:

1. Order never matters: the more specific path wins, segment by segment from the left,
   a literal before a ``{name}`` before a ``{name...}``. Two rules that would match the
   same request equally well are an error at load.
2. The path that was matched is the path that is forwarded: the canonical one, with
   percent-encoded unreserved characters decoded and hex digits in upper case (RFC
   3986 section 6.2.2).
3. A path that some backend could read in another way is refused, unless its rule says
   that this backend does not. Dot segments and control characters always are, for
   there the backend's path would not be the one that matched.
"""

import dataclasses
import enum
import re
from collections.abc import Iterable, Mapping
from typing import Generic, Protocol, TypeVar

from proxy.core.errors import Refused
from proxy.core.reasons import Reason

MAX_SEGMENTS = 32
"""The deepest pattern; it bounds the search, whatever the request's path is."""


class Ambiguity(enum.Enum):
    """A way in which a path can be read in two ways."""

    ENCODED_SLASH = "encoded-slash"
    EMPTY_SEGMENT = "empty-segment"
    BACKSLASH = "backslash"
    SEMICOLON = "semicolon"
    DOUBLE_ENCODING = "double-encoding"
    DOT_SEGMENT = "dot-segment"
    CONTROL = "control-character"


NEVER_TOLERATED = frozenset((Ambiguity.DOT_SEGMENT, Ambiguity.CONTROL))

_ORDINARY = re.compile(r"[!$&-:=@-Z_a-z~]*").fullmatch
_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]").fullmatch
_DOTS = re.compile(r"(?:^|[/\\]|%2F|%5C)\.\.?(?:;[^/]*)?(?:[/\\]|%2F|%5C|$)")
_CONTROL = re.compile(r"%(?:[01][0-9A-F]|7F)|%(?![0-9A-F]{2})|[^\x21-\x7e]")
_AMBIGUITIES = (
    (Ambiguity.CONTROL, _CONTROL),
    (Ambiguity.DOT_SEGMENT, _DOTS),
    (Ambiguity.DOUBLE_ENCODING, re.compile(r"%25[0-9A-Fa-f]{2}")),
    (Ambiguity.ENCODED_SLASH, re.compile(r"%2F")),
    (Ambiguity.BACKSLASH, re.compile(r"\\|%5C")),
    (Ambiguity.SEMICOLON, re.compile(r";|%3B")),
    (Ambiguity.EMPTY_SEGMENT, re.compile(r"//")),
)


def canonical(path: str) -> tuple[str, frozenset[Ambiguity]]:
    """Return the canonical form of a path, and how else it could be read.

    Example:
        >>> canonical("/%75sers/%c3%a9")
        ('/users/%C3%A9', frozenset())
    """
    if _ORDINARY(path) and "/." not in path and "//" not in path:
        return path, frozenset()
    path = _ENCODED.sub(_canonical_triplet, path)
    found = frozenset(
        ambiguity for ambiguity, pattern in _AMBIGUITIES if pattern.search(path)
    )
    return path, found


def _canonical_triplet(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return character if _UNRESERVED(character) else found[0].upper()


@dataclasses.dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled path pattern.

    Attributes:
        text: as written, such as ``/api/users/{id}`` or ``/files/{path...}``.
        segments: canonical literal segments; a parameter is None.
        params: the names of the parameters in order, the rest parameter last.
        rest: whether the last parameter is ``{name...}`` (not in ``segments``), which
            takes everything behind its slash, also nothing.
    """

    text: str
    segments: tuple[str | None, ...]
    params: tuple[str, ...]
    rest: bool

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Compile a pattern.

        Raises:
            ValueError: it is none; the message is a sentence for people.
        """
        if not text.startswith("/"):
            raise ValueError("a path begins with /")
        if "?" in text or "#" in text:
            raise ValueError("a path has no query and no fragment")
        written = text[1:].split("/")
        if len(written) > MAX_SEGMENTS:
            raise ValueError(f"a path has at most {MAX_SEGMENTS} segments")
        segments: list[str | None] = []
        params: list[str] = []
        rest = False
        for index, segment in enumerate(written):
            last = index == len(written) - 1
            if "{" not in segment and "}" not in segment:
                segments.append(_literal(segment, last=last))
                continue
            name, rest = _parameter(segment, last=last)
            if name in params:
                raise ValueError(f"the parameter {{{name}}} is there twice")
            params.append(name)
            if not rest:
                segments.append(None)
        return cls(text, tuple(segments), tuple(params), rest)

    @property
    def shape(self) -> tuple[tuple[str | None, ...], bool]:
        """What two patterns share that match the same paths."""
        return self.segments, self.rest


_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(\.\.\.)?\}").fullmatch
_NOT_IN_PATH = re.compile(r"[^A-Za-z0-9._~!$&'()*+,=:@%-]")


def _literal(segment: str, *, last: bool) -> str:
    if not segment and not last:
        raise ValueError("a path has no empty segment, but for a / at its end")
    encoded = _NOT_IN_PATH.sub(
        lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), segment
    )
    path, ambiguities = canonical("/" + encoded)
    if ambiguities:
        words = ", ".join(sorted(one.value for one in ambiguities))
        raise ValueError(f"the segment {segment!r} can be read in two ways ({words})")
    return path[1:]


def _parameter(segment: str, *, last: bool) -> tuple[str, bool]:
    found = _PARAMETER(segment)
    if found is None:
        raise ValueError(f"{segment!r} is not a whole-segment parameter like {{id}}")
    rest = found[2] is not None
    if rest and not last:
        raise ValueError(f"{segment} takes the rest of the path, so it comes last")
    return found[1], rest


class Routable(Protocol):
    """What the router needs to know of a rule."""

    @property
    def id(self) -> str:
        """The rule's name."""
        ...

    @property
    def methods(self) -> frozenset[str]:
        """The methods; empty for every method."""
        ...

    @property
    def pattern(self) -> Pattern:
        """The path."""
        ...

    @property
    def tolerate(self) -> frozenset[Ambiguity]:
        """The ambiguities that may pass."""
        ...


R = TypeVar("R", bound=Routable)


@dataclasses.dataclass(frozen=True, slots=True)
class Match(Generic[R]):
    """One rule, the canonical path that is forwarded, and the parameters.

    Parameters are as in the canonical path: reserved characters stay encoded.
    """

    rule: R
    path: str
    values: tuple[str, ...]

    @property
    def params(self) -> Mapping[str, str]:
        """The path parameters by name."""
        return dict(zip(self.rule.pattern.params, self.values, strict=True))


_Rules = dict[str, R]
"""Rules of one shape by method; "*" is every other method."""


class _Node(Generic[R]):
    """One segment of the tree."""

    __slots__ = ("literals", "parameter", "rest", "rules")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[R]] = {}
        self.parameter: _Node[R] | None = None
        self.rules: _Rules[R] = {}
        self.rest: _Rules[R] = {}


class Router(Generic[R]):
    """All rules, compiled to a tree of segments.

    Args:
        rules: in any order.

    Raises:
        ValueError: two rules tie, see ``ties``.
    """

    def __init__(self, rules: Iterable[R]) -> None:
        rules = tuple(rules)
        for one, other in self.ties(rules):
            raise ValueError(f"the rules {one.id} and {other.id} match the same requests")
        self._root: _Node[R] = _Node()
        for rule in rules:
            self._add(rule)

    @staticmethod
    def ties(rules: Iterable[R]) -> list[tuple[R, R]]:
        """Return every pair of rules that match the same requests equally well.

        A rule that names a method is more specific than one with ``*``.
        """
        seen: dict[object, R] = {}
        pairs = []
        for rule in rules:
            for method in sorted(rule.methods) or ["*"]:
                other = seen.setdefault((rule.pattern.shape, method), rule)
                if other is not rule:
                    pairs.append((other, rule))
                    break
        return pairs

    def _add(self, rule: R) -> None:
        node = self._root
        for segment in rule.pattern.segments:
            if segment is None:
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.literals.setdefault(segment, _Node())
        table = node.rest if rule.pattern.rest else node.rules
        for method in rule.methods or ("*",):
            table[method] = rule

    def match(self, method: str, path: str) -> Match[R]:
        """Return the one rule for a request.

        HEAD is matched by a rule for GET, unless a rule names HEAD (RFC 9110 section
        9.3.2: the same answer without its body).

        Args:
            method: upper case.
            path: as sent, without the query; begins with "/".

        Raises:
            Refused: NO_RULE, METHOD_NOT_ALLOWED or PATH_AMBIGUOUS.
        """
        path, ambiguities = canonical(path)
        if ambiguities & NEVER_TOLERATED:
            raise _ambiguous(ambiguities & NEVER_TOLERATED)
        values: list[str] = []
        others: set[str] = set()
        rule = _find(self._root, path[1:].split("/"), 0, method, values, others)
        if ambiguities and (rule is None or not ambiguities <= rule.tolerate):
            raise _ambiguous(ambiguities - (rule.tolerate if rule else frozenset()))
        if rule is None:
            if others:
                if "GET" in others:
                    others.add("HEAD")
                allow = ", ".join(sorted(others))
                raise Refused(Reason.METHOD_NOT_ALLOWED, headers=(("Allow", allow),))
            raise Refused(Reason.NO_RULE)
        return Match(rule, path, tuple(values))


def _find(
    node: _Node[R],
    segments: list[str],
    index: int,
    method: str,
    values: list[str],
    others: set[str],
) -> R | None:
    """Return the most specific rule below ``node``.

    Recursion and search are bounded by the tree, which is at most MAX_SEGMENTS deep.

    Args:
        node: where the search stands.
        segments: of the whole path.
        index: how many of them led here.
        method: of the request.
        values: the parameters' values so far; right when a rule is returned.
        others: collects the methods of rules that fit but for their method.
    """
    if index == len(segments):
        return _of_method(node.rules, method, others)
    segment = segments[index]
    deeper = node.literals.get(segment)
    if deeper is not None:
        found = _find(deeper, segments, index + 1, method, values, others)
        if found is not None:
            return found
    if node.parameter is not None and segment:
        values.append(segment)
        found = _find(node.parameter, segments, index + 1, method, values, others)
        if found is not None:
            return found
        values.pop()
    if node.rest:
        found = _of_method(node.rest, method, others)
        if found is not None:
            values.append("/".join(segments[index:]))
            return found
    return None


def _of_method(rules: _Rules[R], method: str, others: set[str]) -> R | None:
    if not rules:
        return None
    found = rules.get(method)
    if found is None and method == "HEAD":
        found = rules.get("GET")
    if found is None:
        found = rules.get("*")
    if found is None:
        others.update(rules)
    return found


def _ambiguous(ambiguities: Iterable[Ambiguity]) -> Refused:
    words = ", ".join(sorted(ambiguity.value for ambiguity in ambiguities))
    return Refused(Reason.PATH_AMBIGUOUS, f"It has: {words}.")
