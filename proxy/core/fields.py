r"""Which leaves of a JSON body are protected, and how they are replaced.

The body is never written anew. It is read once by the standard library's C scanner,
which answers "is this JSON, and in one way only?"; then the places of the selected
leaves are looked up and only their text is exchanged. Numbers, order, white space and
escapes elsewhere stay byte for byte. Knows nothing of cryptography, roles or HTTP.

1. One reading only. Invalid UTF-8, a byte order mark, a member named twice (however
   its name is spelled), NaN, Infinity, text after the value and nesting deeper than 64
   are refused: two parsers could disagree on them (RFC 8259 sections 4, 8.1 and 9).
2. Numbers are kept as text; ``int`` would lose time on long ones, and ``float`` digits.
3. Where the body has another shape than the path, nothing is selected.
4. A refusal says what and where, never what the body holds.

Members are found by text search where that is provably right. Let an object have a
member of a plain name, which the scanner told us, and let its text hold no ``\u``.
Then that name can only be spelled as it stands, so its quoted spelling occurs in the
text; if it occurs once, that is the member. In all other cases the object is stepped
through, member by member.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, cast

from proxy.core.errors import Refused
from proxy.core.jsonpath import Node
from proxy.core.reasons import Reason

MAX_DEPTH = 64
"""How many arrays and objects may lie inside each other."""

_Span = tuple[int, int, str]
"""(first character, one past the last, logical field) of a selected leaf."""

_Matcher = Callable[[str, int], re.Match[str]]

# Both match nothing at all, too, and so never return None.
_blank = cast(_Matcher, re.compile(r"[ \t\n\r]*+").match)
_gap = cast(_Matcher, re.compile(r"[ \t\n\r]*+[:,]?+[ \t\n\r]*+").match)

_TOKEN = re.compile(
    r'("[^"\\]*+(?:\\.[^"\\]*+)*+")(?:[ \t\n\r]*+(:))?+|[\[{]|[\]}]|NaN|-?Infinity'
)


@dataclasses.dataclass(frozen=True, slots=True)
class Selection:
    """Compiled JSONPaths, each with the logical field found there.

    Attributes:
        places: each (JSONPath, logical field), as the policy wrote them.
        root: the same as a tree.
    """

    places: tuple[tuple[str, str], ...]
    root: Node = dataclasses.field(repr=False, compare=False)

    @classmethod
    def compile(cls, places: Mapping[str, str]) -> "Selection":
        """Compile {JSONPath: logical field}; ValueError names the path and why."""
        return cls(tuple(places.items()), Node.compile(places))

    @property
    def fields(self) -> frozenset[str]:
        """The logical fields that can be found."""
        return frozenset(field for _, field in self.places)


def splice(
    body: bytes, selection: Selection, replace: Callable[[str, str], str | None]
) -> bytes:
    """Replace selected leaves; every other byte stays.

    Args:
        body: the bytes of one JSON text in UTF-8.
        selection: what is protected.
        replace: called with (logical field, JSON text of the leaf) in the order of
            the body; returns the JSON text to put there, or None to leave the leaf as
            it is. Not called at all when the body is refused.

    Raises:
        Refused: BODY_NOT_JSON with a sentence.

    Example:
        >>> selection = Selection.compile({"$.name": "user.name"})
        >>> splice(b'{"id": 1.0, "name" : "Ada"}', selection, lambda f, leaf: "null")
        b'{"id": 1.0, "name" : null}'
    """
    text = _text(body)
    value, start, end = _read(text)
    walk = _Walk(text)
    walk.visit(start, end, value, selection.root)
    pieces: list[str] = []
    done = 0
    for start, end, field in sorted(walk.spans):
        replacement = replace(field, text[start:end])
        if replacement is not None:
            pieces += text[done:start], replacement
            done = end
    if not pieces:
        return body
    pieces.append(text[done:])
    return "".join(pieces).encode()


class _Walk:
    """Collects the selected leaves of one body, whose text is valid JSON."""

    __slots__ = ("spans", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.spans: list[_Span] = []

    def visit(self, start: int, end: int, value: Any, node: Node) -> None:
        """Collect what ``node`` wants of ``value``, which is ``text[start:end]``."""
        if node.field is not None:
            _refuse_half_characters(self.text, start, end, value)
            self.spans.append((start, end, node.field))
        elif type(value) is dict:
            if not self.search(start, end, value, node):
                self.step_through(start, value, node)
        elif type(value) is list:
            position = start + 1
            for index in range(
                len(value) if node.rest else min(len(value), node.reach)
            ):
                position = _gap(self.text, position).end()
                position = self.descend(position, node, index)

    def search(self, start: int, end: int, members: Any, node: Node) -> bool:
        """Find members by their spelling; False, and no spans, if it proves nothing."""
        text = self.text
        if node.needles is None or text.find("\\u", start, end) >= 0:
            return False
        found: list[tuple[int, Node]] = []
        for name, needle, child in node.needles:
            if name in members:
                at = text.find(needle, start, end)
                if text.find(needle, at + 1, end) >= 0:
                    return False
                found.append((_gap(text, at + len(needle)).end(), child))
        for first, child in found:
            value, last = _decode(text, first)
            self.visit(first, last, value, child)
        return True

    def step_through(self, start: int, members: Any, node: Node) -> None:
        """Look at every member, one after the other."""
        position = start + 1
        for _ in members:
            position = _gap(self.text, position).end()
            name, position = _decode(self.text, position)
            position = _gap(self.text, position).end()
            position = self.descend(position, node, name)

    def descend(self, start: int, node: Node, step: str | int) -> int:
        """Visit the value at ``start`` if it is wanted; return where it ends."""
        value, end = _decode(self.text, start)
        child = node.children.get(step, node.rest)
        if child is not None:
            self.visit(start, end, value, child)
        return end


# Reading: is it JSON, and in one way only?


class _TwoReadingsError(ValueError):
    """Something that the scanner would take and another parser might not."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _TwoReadingsError
    return members


def _refuse_constant(_: str) -> NoReturn:
    raise _TwoReadingsError


_decode = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=str,
    parse_float=str,
    parse_constant=_refuse_constant,
).raw_decode


def _text(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        detail = f"The body is not UTF-8 at byte {error.start}."
        raise Refused(Reason.BODY_NOT_JSON, detail) from None
    if text.startswith("\ufeff"):
        raise _refusal("", 0, "The body starts with a byte order mark")
    return text


def _read(text: str) -> tuple[Any, int, int]:
    """Return the value, where it starts and where it ends."""
    start = _blank(text, 0).end()
    try:
        value, end = _decode(text, start)
    except json.JSONDecodeError as error:
        what = "The body is not JSON"
        raise _refusal(text, error.pos, what) from None
    except (_TwoReadingsError, RecursionError):
        raise _refusal(text, *next(_faults(text))) from None
    after = _blank(text, end).end()
    if after != len(text):
        raise _refusal(text, after, "The body goes on after its JSON value")
    # So few brackets cannot lie too deep; most bodies need no closer look.
    if text.count("{") + text.count("[") > MAX_DEPTH and _is_too_deep(value):
        raise _refusal(text, *next(_faults(text)))
    return value, start, end


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) is dict or type(child) is list
        ]
    return bool(level)


def _faults(text: str) -> Iterator[tuple[int, str]]:
    """Say where and why ``text`` has two readings; it is JSON up to the first one."""
    names: list[set[str]] = []
    for token in _TOKEN.finditer(text):
        string, is_name = token.groups()
        if is_name:
            name = json.loads(string)
            if name in names[-1]:
                yield token.start(), "A member is named twice in one object"
            names[-1].add(name)
        elif token[0] in {"{", "["}:
            names.append(set())
            if len(names) > MAX_DEPTH:
                yield token.start(), f"The body is nested deeper than {MAX_DEPTH}"
        elif token[0] in {"}", "]"}:
            names.pop()
        elif not string:
            yield token.start(), "NaN and Infinity are not JSON"


def _refuse_half_characters(text: str, start: int, end: int, value: Any) -> None:
    r"""Refuse a leaf with half of a surrogate pair, such as ``\ud800`` alone."""
    if text.find("\\u", start, end) < 0:
        return
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        what = "A protected value holds half of a surrogate pair"
        raise _refusal(text, start, what) from None


def _refusal(text: str, position: int, what: str) -> Refused:
    at = len(text[:position].encode())
    return Refused(Reason.BODY_NOT_JSON, f"{what}, at byte {at}.")
