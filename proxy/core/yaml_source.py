"""YAML text to a tree of strings with positions, and nothing cleverer than that.

Rules of this file:

1. No value is ever guessed: every scalar stays the string that was written, so ``no``
   is not a boolean, ``1:30`` is not ninety and ``010`` is not eight. Whoever reads a
   node says what it should be.
2. What makes one text mean two things is refused: tags, anchors, aliases, merge keys,
   duplicate keys, a second document, characters that reorder or hide a line.
3. ``${NAME}`` and ``${NAME:-default}`` are replaced inside values, after the structure
   is known: a variable can never add a key. Unset and empty are the same.
4. What came from the environment may be a secret: such a scalar is ``hidden``, and its
   ``shown`` is the text as written.

This file knows YAML 1.1 as libyaml reads it, and does not know what a policy is.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Protocol

import yaml

from proxy.core.errors import Finding

MAX_DEPTH = 16
"""How deep a document may nest; a policy needs six levels."""

_VARIABLE = re.compile(
    r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}"
)
# Controls, line separators that editors do not count, bidirectional overrides (a line
# that reads otherwise than it is), surrogates, byte order marks and non-characters.
_UNFIT = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
    r"\ud800-\udfff\ufeff\ufffe\uffff]"
)
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A place in a file.

    Attributes:
        file: the name of the file as the user gave it.
        line: counted from 1.
        column: counted from 1.
        path: where in the document, such as ``rules[2].limits``; "" for the root.
    """

    file: str
    line: int = 1
    column: int = 1
    path: str = ""

    def __str__(self) -> str:
        """Format as editors and CI know it: ``file:line:column``."""
        return f"{self.file}:{self.line}:{self.column}"

    def finding(self, message: str, hint: str = "", severity: str = "error") -> Finding:
        """Return a finding about this place."""
        return Finding(
            self.file, self.line, self.column, self.path, message, hint, severity
        )


Where = tuple[str, int, int, str]
"""The parts of a ``Place``.

A document has a place for each word of it and shows hardly any. Tuples of atoms are
left alone by Python's garbage collector, which halves the time that a large one takes.
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """A value at a place. A bare ``Node`` is a value that was refused already."""

    where: Where

    @property
    def at(self) -> Place:
        """The place, for findings."""
        return Place(*self.where)


@dataclasses.dataclass(frozen=True, slots=True)
class Scalar(Node):
    """A string.

    Attributes:
        text: the value, variables replaced.
        shown: what a finding may show of it.
        hidden: whether the environment has a part in ``text``.
        blank: whether nothing was written at all, not even quotes.
    """

    text: str = dataclasses.field(repr=False)
    shown: str
    hidden: bool = False
    blank: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Listing(Node):
    """A YAML sequence."""

    items: tuple[Node, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Table(Node):
    """A YAML mapping.

    Attributes:
        values: the entries, in file order.
        keys: where each key of ``values`` stands.
    """

    keys: Mapping[str, Where]
    values: Mapping[str, Node]

    def key(self, name: str) -> Scalar:
        """Return a key as a node of its own."""
        return Scalar(self.keys[name], name, name)


def read_yaml(
    file: str, text: str, environment: Mapping[str, str]
) -> tuple[Node | None, list[Finding]]:
    """Read one document.

    Args:
        file: the name that findings carry.
        text: the whole file.
        environment: what ``${NAME}`` stands for.

    Returns:
        The root and every finding. The root is None for an empty file and for text
        that is not YAML (which is a finding). A value that was refused is a bare
        ``Node``, so that its reader keeps silent about it.
    """
    unfit = _UNFIT.search(text)
    if unfit:
        before = text[: unfit.start()]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        message = f"the character U+{ord(unfit[0]):04X} is not allowed"
        return None, [Place(file, line, column).finding(message)]
    builder = _Builder(file, text, environment)
    try:
        return builder.document(), builder.findings
    except yaml.MarkedYAMLError as error:
        place = Place(*_marked(file, error.problem_mark))
        finding = place.finding(f"not YAML: {error.problem}", error.context or "")
        return None, [*builder.findings, finding]


def variables(text: str) -> list[tuple[str, str | None]]:
    """Return name and default of every variable in ``text``; None for no default."""
    return [(match["name"], match["default"]) for match in _VARIABLE.finditer(text)]


class _Mark(Protocol):
    """A mark of libyaml or of PyYAML; both count from 0."""

    line: int
    column: int


def _marked(file: str, mark: _Mark | None, path: str = "") -> Where:
    """Return the place of a mark; None is the beginning of the file."""
    line, column = (mark.line, mark.column) if mark else (0, 0)
    return file, line + 1, column + 1, path


class _Builder:
    """Turns libyaml's events into nodes, collecting findings on the way."""

    def __init__(self, file: str, text: str, environment: Mapping[str, str]) -> None:
        self.findings: list[Finding] = []
        self._file = file
        self._environment = environment
        # The C parser, always: ten thousand rules are read in a blink, and its
        # messages are the same on every machine.
        self._events: Iterator[yaml.Event] = iter(
            yaml.CSafeLoader(text).get_event, None
        )

    def document(self) -> Node | None:
        """Return the root of the only document, or None when there is none."""
        root: Node | None = None
        for event in self._events:
            if not isinstance(event, yaml.NodeEvent):
                continue
            node = self._node(event, "", 0)
            if root is not None:
                self._refuse(node.where, "a second document", "use another file")
            elif not (isinstance(node, Scalar) and node.blank):
                root = node
        return root

    def _refuse(self, at: Where, message: str, hint: str = "") -> None:
        self.findings.append(Place(*at).finding(message, hint))

    def _place(self, event: yaml.Event, path: str) -> Where:
        return _marked(self._file, event.start_mark, path)

    def _node(self, event: yaml.NodeEvent, path: str, depth: int) -> Node:
        """Return the node that begins with ``event``, having read to its end."""
        at = self._place(event, path)
        if isinstance(event, yaml.AliasEvent):
            self._refuse(at, "an alias is not allowed", "write the value out")
            return Node(at)
        self._refuse_properties(event, at)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, at)
        if depth == MAX_DEPTH:
            self._refuse(at, "nested too deeply")
            self._skip()
            return Node(at)
        if isinstance(event, yaml.SequenceStartEvent):
            return Listing(at, self._items(path, depth + 1))
        return self._table(at, depth + 1)

    def _refuse_properties(self, event: yaml.NodeEvent, at: Where) -> None:
        if event.anchor is not None:
            self._refuse(at, "an anchor is not allowed", f"remove &{event.anchor}")
        if getattr(event, "tag", None) is not None:
            self._refuse(at, "a tag is not allowed", "every value is a plain string")

    def _children(self) -> Iterator[yaml.NodeEvent]:
        """Yield the events that begin each child of the collection just opened."""
        for event in self._events:
            if not isinstance(event, yaml.NodeEvent):
                return
            yield event

    def _skip(self) -> None:
        """Read on to the end of the collection just opened, however deep it is."""
        depth = 1
        while depth:
            event = next(self._events)
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)

    def _items(self, path: str, depth: int) -> tuple[Node, ...]:
        return tuple(
            self._node(event, f"{path}[{index}]", depth)
            for index, event in enumerate(self._children())
        )

    def _table(self, at: Where, depth: int) -> Node:
        """Return the mapping just opened; a bare Node when no key of it is good."""
        path = at[3]
        keys: dict[str, Where] = {}
        values: dict[str, Node] = {}
        children = self._children()
        refused = False
        for event in children:
            name, where = self._key(event, path, depth)
            value = self._node(next(children), where[3], depth)
            if name is None:
                refused = True
            elif name in keys:
                first = f"first in line {keys[name][1]}"
                self._refuse(where, f"the key {name!r} is written twice", first)
            else:
                keys[name], values[name] = where, value
        return Table(at, keys, values) if keys or not refused else Node(at)

    def _key(
        self, event: yaml.NodeEvent, path: str, depth: int
    ) -> tuple[str | None, Where]:
        """Return a key, None when it cannot be one, and where it stands."""
        if not isinstance(event, yaml.ScalarEvent):
            node = self._node(event, path, depth)
            self._refuse(node.where, "a key must be a string")
            return None, node.where
        name = event.value
        step = f".{name}" if _PLAIN_KEY.fullmatch(name) else f'["{name}"]'
        at = self._place(event, f"{path}{step}".lstrip("."))
        self._refuse_properties(event, at)
        if _UNFIT.search(name) or name == "<<":
            at = (*at[:3], path)
            what = "a merge key" if name == "<<" else "a control character"
            self._refuse(at, f"{what} is not allowed")
            return None, at
        return name, at

    def _scalar(self, event: yaml.ScalarEvent, at: Where) -> Node:
        """Return the value with its variables replaced."""
        written: str = event.value
        if "$" not in written and not _UNFIT.search(written):
            blank = not event.style and not written
            return Scalar(at, written, written, blank=blank)
        found = list(_VARIABLE.finditer(written))
        values = {
            match["name"]: self._environment.get(match["name"], "") for match in found
        }
        unset = [match for match in found if not values[match["name"]]]
        without = [match for match in unset if self._refuse_unset(match, at)]
        if "${" in _VARIABLE.sub("", written):
            self._refuse(
                at, "'${' begins a variable", "write ${NAME} or ${NAME:-default}"
            )
            return Node(at)
        text = _VARIABLE.sub(lambda m: values[m["name"]] or m["default"] or "", written)
        if _UNFIT.search(text):
            self._refuse(at, "a control character is not allowed")
            return Node(at)
        hidden = any(values.values())
        shown = written if hidden else text
        return Node(at) if without else Scalar(at, text, shown, hidden)

    def _refuse_unset(self, variable: re.Match[str], at: Where) -> bool:
        """Say whether a variable that has no value has no default either."""
        name, default = variable["name"], variable["default"]
        if self._environment.get(f"{name}_FILE"):
            # A default would hide that something else was meant.
            self._refuse(
                at,
                f"the variable {name} has no value",
                f"the file that {name}_FILE names is empty or cannot be read",
            )
            return True
        if default is None:
            self._refuse(
                at,
                f"the variable {name} is not set",
                f"set {name} or {name}_FILE, or write ${{{name}:-default}}",
            )
        return default is None
