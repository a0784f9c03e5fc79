r"""Which leaves of a JSON body are protected, and how they are replaced.

The body is never written anew. It is read once (``strict_json``), the places of the
selected leaves are looked up, and only their text is exchanged: numbers, order, white
space and escapes elsewhere stay byte for byte. Where the body has another shape than
the path, nothing is selected. Knows nothing of cryptography, roles or HTTP.

Leaves are found by text search where that is provably right, which is nearly always:

1. Reading told how many objects own a wanted member of, say, the name ``email``.
2. If the text holds no ``\u``, that name can only be spelled as it stands. So each
   owner's member is an occurrence of ``"email"`` in the text, and no two share one.
3. If the text holds as many occurrences as there are owners, they are those members.

If one of them fails, the body is walked, member by member. A test compares the two.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from proxy.core.errors import Refused
from proxy.core.jsonpath import Node
from proxy.core.reasons import Reason
from proxy.core.strict_json import Matcher, read, refuse_half_characters

_Span = tuple[int, int, str]
"""(first character, one past the last, logical field) of a selected leaf."""

REMOVED = ""
"""What ``splice`` is told to put in place of a member or element that shall go."""

_BLANK = " \t\n\r"
_blank = cast(Matcher, re.compile(r"[ \t\n\r]*+").match)

# What lies between two values of valid JSON, brackets aside.
_gap = cast(Matcher, re.compile(r"[ \t\n\r]*+[:,]?+[ \t\n\r]*+").match)

# Passes over a value of text that was read before, and so checks nothing twice.
_skip = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode


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
    body: bytes,
    selection: Selection,
    replace: Callable[[str, str], str | None],
    *,
    exact: bool = False,
) -> bytes:
    """Replace or remove selected leaves; every other byte stays.

    Args:
        body: the bytes of one JSON text in UTF-8.
        selection: what is protected.
        replace: called with (logical field, JSON text of the leaf) in the order of
            the body; returns the JSON text to put there, None to leave the leaf as it
            is, or REMOVED, which takes a comma and white space along. Not called at
            all when the body is refused.
        exact: refuse a body with a member whose name is a selected one in another
            case: services that ignore case would take it for that one.

    Raises:
        Refused: BODY_NOT_JSON with a sentence.

    Example:
        >>> selection = Selection.compile({"$.name": "user.name"})
        >>> splice(b'{"id": 1.0, "name" : "Ada"}', selection, lambda f, leaf: "null")
        b'{"id": 1.0, "name" : null}'
    """
    text, root_start, value = read(body)
    if exact:
        _refuse_other_case(value, selection.root)
    pieces: list[str] = []
    done = 0
    for start, end, field in _spans(text, root_start, value, selection.root):
        replacement = replace(field, text[start:end])
        if replacement == REMOVED and start == root_start:
            replacement = "null"  # an empty body would be no JSON
        if replacement == REMOVED:
            pieces.append(text[done : _item_start(text, start)])
            done = _after_item(text, end, pieces)
        elif replacement is not None:
            pieces += text[done:start], replacement
            done = end
    if not pieces:
        return body
    pieces.append(text[done:])
    return "".join(pieces).encode()


def _refuse_other_case(value: Any, node: Node) -> None:
    """Refuse a member that is selected but for its case, where it could be meant."""
    if node.field is not None:
        return
    if isinstance(value, list):
        for at, element in enumerate(value):
            child = node.children.get(at, node.rest)
            if child is not None:
                _refuse_other_case(element, child)
    elif isinstance(value, dict):
        folded = {name.casefold() for name in node.children if isinstance(name, str)}
        for name, member in value.items():
            child = node.children.get(name, node.rest)
            if name not in node.children and name.casefold() in folded:
                raise Refused(Reason.BODY_NOT_JSON, "A name has an unusual case.")
            if child is not None:
                _refuse_other_case(member, child)


def _item_start(text: str, start: int) -> int:
    """Return where the member or element begins whose value begins at ``start``."""
    colon = _back(text, start)
    if text[colon] != ":":
        return start
    at = _back(text, colon)  # the quote that ends the name
    while True:
        at = text.rindex('"', 0, at)
        first = at
        while text[first - 1] == "\\":
            first -= 1
        # Inside a name a quote is escaped: an odd number of backslashes is ahead.
        if (at - first) % 2 == 0:
            return at


def _back(text: str, at: int) -> int:
    """Return where the last character before ``at`` is that is not blank."""
    at -= 1
    while text[at] in _BLANK:
        at -= 1
    return at


def _after_item(text: str, end: int, pieces: list[str]) -> int:
    """Return where to go on after a removed item; its comma goes with it.

    Of the last item it is the one before, which is in ``pieces``, unless all are gone.
    """
    following = _blank(text, end).end()
    if text[following] == ",":
        return following + 1
    while pieces and not (last := pieces[-1].rstrip(_BLANK)):
        pieces.pop()
    if pieces and last.endswith(","):
        pieces[-1] = last[:-1]
    return end


def _spans(text: str, start: int, value: Any, root: Node) -> list[_Span]:
    """Return the selected leaves in the order of the text."""
    finder = _Finder(text)
    # One character is found faster than two, and most bodies have none.
    may_hide_names = "\\" in text and "\\u" in text
    if may_hide_names or not finder.search(root, [value]):
        finder.spans.clear()
        finder.walk(start, value, root)
    finder.spans.sort()
    return finder.spans


class _Finder:
    """Finds the selected leaves of one body, whose text was read before.

    Attributes:
        text: the body.
        spans: what was found so far, in any order.
    """

    __slots__ = ("spans", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.spans: list[_Span] = []

    def search(self, node: Node, values: list[Any]) -> bool:
        """Find leaves by the spelling of their names.

        Args:
            node: what is wanted of each value.
            values: every value that the paths to this node lead to.

        Returns:
            False if the search proves nothing; then what was found is void.
        """
        if node.elements is not None:
            if dict in map(type, values):
                return False  # for [*] also stands for members of any name
            lists = [value for value in values if type(value) is list]
            return self.search(node.elements, [one for many in lists for one in many])
        if node.needles is None:
            return False
        objects = [value for value in values if type(value) is dict]
        for name, needle, child in node.needles:
            found = [members[name] for members in objects if name in members]
            if child.field is None:
                if not self.search(child, found):
                    return False
            elif found and not self.take(needle, child.field, len(found)):
                return False
        return True

    def take(self, needle: str, field: str, count: int) -> bool:
        """Take ``count`` members by their name; False if it occurs more often."""
        ends = [0]
        for _ in range(count):
            ends.append(self.text.index(needle, ends[-1]) + len(needle))
        if self.text.find(needle, ends[-1]) >= 0:
            return False  # as a value, or as a name where no path leads
        for end in ends[1:]:
            start = _gap(self.text, end).end()
            self.spans.append((start, _skip(self.text, start)[1], field))
        return True

    def walk(self, start: int, value: Any, node: Node) -> None:
        """Find the leaves in ``value``, which starts at ``start``, step by step."""
        if node.field is not None:
            end = _skip(self.text, start)[1]
            refuse_half_characters(self.text, start, end, value)
            self.spans.append((start, end, node.field))
        elif type(value) is dict:
            self.walk_members(start + 1, value, node)
        elif type(value) is list:
            self.walk_elements(start + 1, value, node)

    def walk_members(self, at: int, members: dict[str, Any], node: Node) -> None:
        """Go from member to member until no wanted one is left."""
        wanted = members.keys() if node.rest else members.keys() & node.children
        left = len(wanted)
        while left:
            name, at = _skip(self.text, _gap(self.text, at).end())
            at = _gap(self.text, at).end()
            if name in wanted:
                left -= 1
                child = node.children.get(name, node.rest)
                self.walk(at, members[name], cast(Node, child))
            if left:
                at = _skip(self.text, at)[1]

    def walk_elements(self, at: int, elements: list[Any], node: Node) -> None:
        """Go from element to element as far as the paths reach."""
        count = len(elements) if node.rest else min(len(elements), node.reach)
        for index in range(count):
            at = _gap(self.text, at).end()
            child = node.children.get(index, node.rest)
            if child is not None:
                self.walk(at, elements[index], child)
            at = _skip(self.text, at)[1]
