"""JSONPath (RFC 9535), the part of it that names places which cannot surprise.

A protected place must be found in every body, whatever its length or the order of its
members. So there are names, indexes from the front and wildcards; filters, slices,
descendants, unions and indexes from the back are refused when the policy is loaded.

Several paths become one tree, in which every node has at most one way to go for a
given member: where ``$.*`` and ``$.name`` meet, the node of ``name`` holds both. Knows
nothing of bodies (``fields`` walks the tree) and nothing of what is done to a leaf.
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping

Step = str | int | None
"""A member's name, an element's index, or None for all of them."""

_MAX_INDEX = 2**53 - 1
"""RFC 9535 section 2.1: an index is an I-JSON integer."""

_SEGMENT = re.compile(
    r"""[ \t\n\r]*+(?:
        \.(?: (?P<all>\*) | (?P<name>[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*) )
      | \[[ \t\n\r]*+(?:
            (?P<every>\*)
          | (?P<index>0|[1-9][0-9]*)
          | '(?P<single>(?:[^'\\\x00-\x1f]|\\[^"\x00-\x1f])*)'
          | "(?P<double>(?:[^"\\\x00-\x1f]|\\[^'\x00-\x1f])*)"
        )[ \t\n\r]*+\]
    )""",
    re.VERBOSE | re.ASCII,
)

_UNSUPPORTED = (
    (re.compile(r"\s*\.\."), "descendants (..) are not supported"),
    (re.compile(r"\s*\[\s*\?"), "filters are not supported"),
    (re.compile(r"\s*\[\s*-\d+\s*\]"), "indexes from the back are not supported"),
    (re.compile(r"\s*\[[^]'\"]*:"), "slices are not supported"),
    (re.compile(r"\s*\[[^]]*,"), "several selectors in one bracket are not supported"),
)

# A name of these characters is spelled in JSON either as it stands or with \u.
_PLAIN_NAME = re.compile(r'[^"\\/\x00-\x1f]+')


def parse(path: str) -> tuple[Step, ...]:
    """Split a path into its steps; ``()`` is the whole body.

    Raises:
        ValueError: the path is malformed or outside the supported part of RFC 9535;
            the sentence starts with the path.

    Example:
        >>> parse("$.users[*]['e-mail']")
        ('users', None, 'e-mail')
    """
    if not path.startswith("$"):
        raise ValueError(f"{path}: a path begins with $")
    steps: list[Step] = []
    position = 1
    while position < len(path):
        segment = _SEGMENT.match(path, position)
        if segment is None:
            raise ValueError(f"{path}: {_complaint(path, position)}")
        steps.append(_step(path, segment))
        position = segment.end()
    return tuple(steps)


def _complaint(path: str, position: int) -> str:
    for pattern, complaint in _UNSUPPORTED:
        if pattern.match(path, position):
            return f"{complaint}; name the members one by one, or use [*]"
    return f"not a JSONPath from character {position + 1} on"


def _step(path: str, segment: re.Match[str]) -> Step:
    kind = segment.lastgroup
    text = segment[kind or 0]
    if kind == "name":
        return text
    if kind == "index":
        # Longer numbers are refused before int() would refuse them.
        if len(text) > len(str(_MAX_INDEX)) or int(text) > _MAX_INDEX:
            raise ValueError(f"{path}: an index is at most {_MAX_INDEX}")
        return int(text)
    if kind in {"single", "double"}:
        return _unescape(path, text)
    return None


def _unescape(path: str, quoted: str) -> str:
    r"""Decode the inside of a quoted name; its escapes are JSON's, and ``\'``."""
    inside = re.sub(
        r'\\.|"', lambda m: {"\\'": "'", '"': '\\"'}.get(m[0], m[0]), quoted
    )
    try:
        name: str = json.loads(f'"{inside}"')
        name.encode()
    except ValueError:  # also UnicodeEncodeError: half of a surrogate pair
        raise ValueError(f"{path}: an escape in a quoted name is malformed") from None
    return name


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """What is wanted of a JSON value that the walk stands on.

    Attributes:
        field: the logical field that this value is; None when the walk goes on.
        children: where to go for a member or element that is named.
        rest: where to go for every other one; None for nowhere.
        reach: how many elements of an array can matter when ``rest`` is None.
        needles: when every place is a named member of a plain name, each as (name,
            its spelling in JSON without escapes, node); else None.
        elements: ``rest``, when it is the only way and goes on; else None.
    """

    field: str | None
    children: Mapping[Step, "Node"]
    rest: "Node | None"
    reach: int
    needles: tuple[tuple[str, str, "Node"], ...] | None = None
    elements: "Node | None" = None

    @classmethod
    def compile(cls, places: Mapping[str, str]) -> "Node":
        """Build the tree of {path: logical field}.

        Raises:
            ValueError: a path is not supported, or two paths overlap.
        """
        return _node([(parse(path), field, path) for path, field in places.items()])


_Place = tuple[tuple[Step, ...], str, str]
"""(steps that are left, logical field, the whole path)."""


def _node(places: list[_Place]) -> Node:
    ends = [place for place in places if not place[0]]
    if ends:
        return _leaf(ends[0], places)
    everywhere = _tails(places, None)
    # In the order of the policy, so that findings are the same at every load.
    heads = dict.fromkeys(steps[0] for steps, _, _ in places if steps[0] is not None)
    children: dict[Step, Node] = {
        head: _node(_tails(places, head) + everywhere) for head in heads
    }
    rest = _node(everywhere) if everywhere else None
    names = [head for head in heads if isinstance(head, str)]
    plain = len(names) == len(heads) and all(map(_PLAIN_NAME.fullmatch, names))
    return Node(
        field=None,
        children=children,
        rest=rest,
        reach=max((head + 1 for head in heads if isinstance(head, int)), default=0),
        needles=tuple((name, f'"{name}"', children[name]) for name in names)
        if plain and rest is None
        else None,
        elements=None if rest is None or heads or rest.field is not None else rest,
    )


def _leaf(end: _Place, places: Iterable[_Place]) -> Node:
    _, field, path = end
    for steps, other_field, other in places:
        # One inside the other, or one leaf as two fields.
        if steps or other_field != field:
            raise ValueError(f"{path}: it selects what {other} selects")
    return Node(field=field, children={}, rest=None, reach=0)


def _tails(places: Iterable[_Place], head: Step) -> list[_Place]:
    return [
        (steps[1:], field, path) for steps, field, path in places if steps[0] == head
    ]
