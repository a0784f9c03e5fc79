"""Which leaves of a JSON body are protected, and how they are replaced.

Rules of this file:

1. A body is spliced, never written again: every byte that no path selects stays, so
   numbers, key order, spaces and escapes are the sender's.
2. A body that two parsers could read in two ways is refused whole: a member twice,
   bytes that are not UTF-8, a byte order mark, NaN, anything behind the value. For
   what the backend would read must be what was encrypted here.
3. Nothing here knows about encryption, and nothing here says what a body held.

The walk follows the compiled paths only. What they do not name is passed over by the
C scanner of the standard library, which also sees that no object repeats a member.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from json.decoder import scanstring  # type: ignore[attr-defined]  # in C, untold
from json.scanner import c_make_scanner  # type: ignore[attr-defined]  # as above
from typing import Any, NoReturn

from proxy.core.errors import Refused
from proxy.core.reasons import Reason

MAX_DEPTH = 64
"""The deepest body; real ones have fewer than ten levels."""

_SPACE = re.compile(r"[ \t\n\r]*").match
_MEMBER = re.compile(r'[ \t\n\r]*"([^"\\\x00-\x1f]*)"[ \t\n\r]*:[ \t\n\r]*').match
_STRING = re.compile(r'"[^"\\\x00-\x1f]*"').match
_STEP = re.compile(
    r"\.(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|\[(?P<quote>['\"])(?P<quoted>[^'\"\\]+)(?P=quote)\]"
    r"|\[(?P<index>0|[1-9][0-9]*)\]"
    r"|(?P<wild>\.\*|\[\*\])"
).match

Replace = Callable[[str, str], str | None]
"""(logical field, JSON text of the leaf) to the JSON text to put there, or None."""


class _Node:
    """One step of the compiled paths: what is selected below a value."""

    __slots__ = ("children", "field", "wild")

    def __init__(self) -> None:
        self.children: dict[str | int, _Node] = {}
        self.wild: _Node | None = None
        self.field: str | None = None

    @property
    def leads(self) -> bool:
        return bool(self.children) or self.wild is not None


def steps_of(path: str) -> tuple[str | int | None, ...]:
    """Read a JSONPath (the subset of RFC 9535 that selects without searching).

    Returns:
        Names as str, indexes as int, wildcards as None.

    Raises:
        ValueError: it is something else; the message is a sentence for people.
    """
    if not path.startswith("$"):
        raise ValueError("a path begins with $")
    steps: list[str | int | None] = []
    at = 1
    while at < len(path):
        found = _STEP(path, at)
        if found is None:
            raise ValueError(
                f"{path[at:]!r} is none of .name, ['name'], [0], [*] and .*"
            )
        if found["wild"]:
            steps.append(None)
        elif found["index"]:
            steps.append(int(found["index"]))
        else:
            steps.append(found["name"] or found["quoted"])
        at = found.end()
    if not steps:
        raise ValueError("$ alone is the whole body; name a member of it")
    return tuple(steps)


@dataclasses.dataclass(frozen=True, slots=True)
class Selection:
    """Compiled JSONPaths, each with the logical field found there."""

    places: tuple[tuple[str, str], ...]
    _root: _Node = dataclasses.field(repr=False, compare=False)

    @classmethod
    def compile(cls, places: Mapping[str, str]) -> "Selection":
        """Compile {JSONPath: logical field}.

        Raises:
            ValueError: a path cannot be read, or two select the same value; the
                message names the path.
        """
        root = _Node()
        read: list[tuple[str, tuple[str | int | None, ...]]] = []
        for path, field in places.items():
            try:
                steps = steps_of(path)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
            for other, known in read:
                if _overlap(steps, known):
                    raise ValueError(f"{path}: it selects what {other} selects")
            read.append((path, steps))
            _insert(root, steps, field)
        return cls(tuple(places.items()), root)

    @property
    def fields(self) -> frozenset[str]:
        """The logical fields that can be found."""
        return frozenset(field for _, field in self.places)


def _overlap(
    one: tuple[str | int | None, ...], other: tuple[str | int | None, ...]
) -> bool:
    return all(
        a is None or b is None or a == b for a, b in zip(one, other, strict=False)
    )


def _insert(root: _Node, steps: tuple[str | int | None, ...], field: str) -> None:
    node = root
    for step in steps:
        if step is None:
            node.wild = node.wild or _Node()
            node = node.wild
        else:
            node = node.children.setdefault(step, _Node())
    node.field = field


def splice(body: bytes, selection: Selection, replace: Replace) -> bytes:
    """Replace selected leaves; every other byte stays.

    Args:
        body: the bytes of one JSON text in UTF-8.
        selection: what is protected.
        replace: called once for each selected leaf, in the body's order.

    Raises:
        Refused: BODY_NOT_JSON, with where and why but never what.

    Example:
        >>> name = Selection.compile({"$.name": "user.name"})
        >>> splice(b'{"id":1.0, "name":"Ada"}', name, lambda field, leaf: '"*"')
        b'{"id":1.0, "name":"*"}'
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refused("It is not UTF-8", error.start) from None
    walk = _Walk(text, replace)
    start = _space_end(text, 0)
    end = walk.value(start, selection._root, 1)  # noqa: SLF001 - one mechanism
    if _space_end(text, end) != len(text):
        raise _refused("Something stands behind the value", end)
    return walk.result()


class _Walk:
    """One pass over one text.

    Args:
        text: the body.
        replace: see ``splice``.
    """

    __slots__ = ("_done", "_parts", "_replace", "_text")

    def __init__(self, text: str, replace: Replace) -> None:
        self._text = text
        self._replace = replace
        self._parts: list[str] = []
        self._done = 0

    def result(self) -> bytes:
        """Return the text with everything replaced so far."""
        self._parts.append(self._text[self._done :])
        return "".join(self._parts).encode("utf-8")

    def value(self, at: int, node: _Node | None, depth: int) -> int:
        """Pass over the value at ``at`` and return where it ends."""
        text = self._text
        if node is None:
            return _skip(text, at, depth)
        if node.field is not None:
            end = _skip(text, at, depth)
            new = self._replace(node.field, text[at:end])
            if new is not None:
                self._parts += (text[self._done : at], new)
                self._done = end
            return end
        if depth > MAX_DEPTH:
            raise _refused("It is nested too deeply", at)
        opening = text[at : at + 1]
        if opening == "{":
            return self._object(at + 1, node, depth + 1)
        if opening == "[":
            return self._array(at + 1, node, depth + 1)
        return _skip(text, at, depth)

    def _object(self, at: int, node: _Node, depth: int) -> int:
        text = self._text
        children, wild = node.children, node.wild
        seen: set[str] = set()
        count = 0
        position = _space_end(text, at)
        if text[position : position + 1] == "}":
            return position + 1
        while True:
            member = _MEMBER(text, at)
            if member is not None:
                name, position = member[1], member.end()
            else:
                name, position = _escaped_name(text, at)
            seen.add(name)
            count += 1
            if len(seen) != count:
                raise _refused("A member is there twice", at)
            end = self.value(position, children.get(name, wild), depth)
            character = text[end : end + 1]
            if character not in (",", "}"):
                end = _space_end(text, end)
                character = text[end : end + 1]
            at = end + 1
            if character == ",":
                continue
            if character == "}":
                return at
            raise _refused("It is not JSON", end)

    def _array(self, at: int, node: _Node, depth: int) -> int:
        text = self._text
        position = _space_end(text, at)
        if text[position : position + 1] == "]":
            return position + 1
        index = 0
        while True:
            end = self.value(position, node.children.get(index, node.wild), depth)
            end = _space_end(text, end)
            character = text[end : end + 1]
            if character == "]":
                return end + 1
            if character != ",":
                raise _refused("It is not JSON", end)
            position = _space_end(text, end + 1)
            index += 1


def _space_end(text: str, at: int) -> int:
    """Return where the white space at ``at`` ends."""
    found = _SPACE(text, at)
    return at if found is None else found.end()


def _escaped_name(text: str, at: int) -> tuple[str, int]:
    """Return a member's name that holds escapes, and where its value begins."""
    start = _space_end(text, at)
    if text[start : start + 1] != '"':
        raise _refused("It is not JSON", start)
    try:
        name, end = scanstring(text, start + 1, True)
    except ValueError:
        raise _refused("It is not JSON", start) from None
    colon = _space_end(text, end)
    if text[colon : colon + 1] != ":":
        raise _refused("It is not JSON", colon)
    return name, _space_end(text, colon + 1)


def _skip(text: str, at: int, depth: int) -> int:
    """Return where the value at ``at`` ends, having checked all of it."""
    plain = _STRING(text, at)
    if plain is not None:
        return plain.end()
    try:
        _, end = _scan(text, at)
    except StopIteration as stop:
        raise _refused("It is not JSON", stop.value) from None
    except json.JSONDecodeError as error:
        raise _refused("It is not JSON", error.pos) from None
    except RecursionError:
        raise _refused("It is nested too deeply", at) from None
    # A value has at least as many opening brackets as levels, so most are shallow.
    if depth + text.count("[", at, end) + text.count("{", at, end) > MAX_DEPTH:
        _check_depth(text, at, end, depth)
    return int(end)


_BRACKET_OR_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def _check_depth(text: str, at: int, end: int, depth: int) -> None:
    for found in _BRACKET_OR_STRING.finditer(text, at, end):
        if found[0] in "[{":
            depth += 1
            if depth > MAX_DEPTH + 1:
                raise _refused("It is nested too deeply", found.start())
        elif found[0] in "]}":
            depth -= 1


def _refused(why: str, offset: int) -> Refused:
    return Refused(Reason.BODY_NOT_JSON, f"{why}, at offset {offset}.")


def _once(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise Refused(Reason.BODY_NOT_JSON, "A member is there twice.")


def _no_constant(_: str) -> NoReturn:
    raise Refused(Reason.BODY_NOT_JSON, "NaN and Infinity are not JSON.")


class _Context:
    """What the C scanner is told: build nothing, refuse what is not JSON."""

    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_once)
    parse_float = str  # a number is passed over, so none is too large
    parse_int = str
    parse_constant = staticmethod(_no_constant)
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner clears it


_scan = c_make_scanner(_Context)
